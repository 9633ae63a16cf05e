"""One delivery being processed, as a context manager."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.any_queue import values
from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Outcome
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.safety import log_failure

if TYPE_CHECKING:
    from typing_extensions import Self

    from otel_queue_plugins.core.telemetry import QueueTelemetry


_NOT_ENQUEUED: Final = "the retry was not enqueued"


class Delivering:
    """A delivery that is processed inside the `with` block; `QueueTracer.process` makes it.

    Its methods say how the delivery ends; the last one called counts, also if an exception leaves
    the block afterwards. Called while an exception is handled, they take that one as the error.
    If another one leaves the block after `retry`, the retry was not enqueued: the message is lost.
    """

    def __init__(
        self,
        telemetry: QueueTelemetry,
        delivery: Delivery,
        carrier: dict[str, Any],
        expected: object,
    ) -> None:
        self._telemetry = telemetry
        self._delivery = delivery
        self._carrier = carrier
        self._expected = expected
        self._decided: Ending | None = None
        self._outer_error: BaseException | None = None
        self._operation = ProcessOperation()

    def __enter__(self) -> Self:
        self._outer_error = sys.exc_info()[1]
        self._operation = self._telemetry.start_process(self._delivery, self._carrier)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        ending = self._decided
        if ending is None:
            ending = SUCCEEDED if error is None else self._failed(error)
        elif ending.outcome is Outcome.RETRY and error is not None and _is_another(error, ending):
            ending = Ending(Outcome.LOST, error, reason=f"{_NOT_ENQUEUED}: {type(error).__name__}")
        elif ending.error is None and error is not None:
            ending = ending._replace(error=error, expected=self._is_expected(error))
        self._telemetry.end_process(self._operation, ending)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def retry(
        self,
        *,
        delay: float | None = None,
        reason: str | None = None,
        error: BaseException | None = None,
    ) -> dict[str, str]:
        """It will be tried again.

        Args:
            delay: Seconds until then, at the earliest; None for at once.
            reason: Why, in a few words.
            error: What went wrong; None for the exception that is being handled.

        Returns:
            The headers for the next attempt, if your code enqueues it. A broker that delivers
            the same message again needs none.
        """
        seconds = values.seconds(delay)
        self._decide(Outcome.RETRY, error, reason=values.text_or_none(reason), delay=seconds)
        return self._next_headers(seconds)

    def requeue(self) -> dict[str, str]:
        """It goes back to its queue, because this worker does not want it now.

        Returns:
            As `retry`.
        """
        self._decide(Outcome.REQUEUED)
        return self._next_headers(None)

    def fail(self, *, reason: str | None = None, error: BaseException | None = None) -> None:
        """It failed for good, and your code handles that; `reason` says why in a few words."""
        self._decide(Outcome.FAILURE, error, reason=values.text_or_none(reason))

    def dead_letter(
        self,
        *,
        reason: str | None = None,
        queue: str | None = None,
        error: BaseException | None = None,
    ) -> None:
        """It failed for good and goes to the dead-letter queue `queue`."""
        why, where = values.text_or_none(reason), values.text_or_none(queue)
        self._decide(Outcome.DEAD_LETTER, error, reason=why, dead_letter_queue=where)

    def skip(self, *, reason: str | None = None) -> None:
        """It was not run, for `reason`."""
        self._decide(Outcome.SKIPPED, reason=values.text_or_none(reason))

    def expire(self) -> None:
        """It was too old, and was not run."""
        self._decide(Outcome.EXPIRED)

    def revoke(self) -> None:
        """Somebody has cancelled it."""
        self._decide(Outcome.REVOKED)

    def time_out(self, *, error: BaseException | None = None) -> None:
        """It ran too long and was stopped for good."""
        self._decide(Outcome.TIMEOUT, error)

    def unknown_task(self) -> None:
        """This worker has no such task."""
        self._decide(Outcome.UNKNOWN_TASK)

    def undecodable(self, *, error: BaseException | None = None) -> None:
        """The message cannot be decoded."""
        self._decide(Outcome.UNDECODABLE, error)

    def inside(self) -> AbstractContextManager[None]:
        """Run code in another thread as a part of this delivery: `with delivery.inside():`."""
        return self._operation.inside()

    def _decide(self, outcome: Outcome, error: BaseException | None = None, **facts: Any) -> None:
        found = error if isinstance(error, BaseException) else sys.exc_info()[1]
        if found is self._outer_error:  # it is handled around the block
            found = None
        self._decided = Ending(
            outcome=outcome, error=found, expected=self._is_expected(found), **facts
        )

    def _failed(self, error: BaseException) -> Ending:
        if isinstance(error, Exception):
            return Ending(Outcome.FAILURE, error, self._is_expected(error))
        return Ending(Outcome.LOST, error)  # an exit, an interrupt or a cancelled asyncio task

    def _is_expected(self, error: BaseException | None) -> bool:
        try:
            return error is not None and isinstance(error, self._expected)  # type: ignore[arg-type]
        except TypeError:
            log_failure("reading `expected`")
            return False

    def _next_headers(self, delay: float | None) -> dict[str, str]:
        carrier = dict(self._carrier)
        eta = time.time() + delay if delay else None
        self._telemetry.requeue(self._operation, carrier, eta)
        return values.strings(carrier)


def _is_another(error: BaseException, ending: Ending) -> bool:
    return ending.error is not None and error is not ending.error
