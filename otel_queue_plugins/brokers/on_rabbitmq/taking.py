"""Messages taken off a queue one by one; those that nobody settles go back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from otel_queue_plugins.brokers.on_rabbitmq import limits
from otel_queue_plugins.brokers.on_rabbitmq.session import Got, Session


class Taking:
    """The messages that were taken and not settled, of one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._held: dict[int, Got] = {}

    def messages(
        self, queue: str, at_most: int, *, allowed: int | None, wanted: Callable[[Got], bool]
    ) -> Iterator[Got]:
        """Take at most `at_most`, oldest first, and hand out the wanted ones.

        What is not settled when the iterator is closed goes back, the newest first, so that a
        classic queue keeps its order.
        """
        try:
            for _ in range(at_most):
                got = self._session.get(queue)
                if got is None:
                    return
                self._held[got.tag] = got
                limits.check(queue, got, allowed)
                if wanted(got):
                    yield got
        finally:
            self._give_back()

    def settle(self, got: Got) -> bool:
        """Remove `got` from the broker; False if it is not held any more."""
        if self._held.pop(got.tag, None) is None:
            return False
        self._session.ack(got)
        return True

    def holds(self, got: Got) -> bool:
        """Whether `got` was taken and not settled."""
        return got.tag in self._held

    def _give_back(self) -> None:
        held, self._held = list(self._held.values()), {}
        if self._session.is_open:
            for got in reversed(held):
                self._session.give_back(got)
