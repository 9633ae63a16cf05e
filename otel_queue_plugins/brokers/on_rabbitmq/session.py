"""AMQP as far as it is needed here, whichever client library the framework brings along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What a passive declare says of a queue; it needs no permission and changes nothing."""

    ready: int
    consumers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """A message that was taken and is not settled yet.

    `properties` have AMQP's names; `headers` are apart. `tag` settles it.
    """

    tag: int
    body: bytes
    headers: Mapping[str, object]
    properties: Mapping[str, object]
    redelivered: bool


class Session(Protocol):
    """One connection, opened at the first use. No call takes longer than its time-out.

    `errors` are what the client library raises, `timeouts` those of them that mean a hung broker.
    """

    errors: tuple[type[Exception], ...]
    timeouts: tuple[type[Exception], ...]

    @property
    def is_open(self) -> bool:
        """Whether a connection was opened, and not given up since."""
        ...

    def declared(self, queue: str) -> Declared | None:
        """What the broker says of `queue`; None if there is none, or it is another's alone."""
        ...

    def get(self, queue: str) -> Got | None:
        """Take the next message; None if there is none."""
        ...

    def ack(self, got: Got) -> None:
        """Remove a message that was taken."""
        ...

    def give_back(self, got: Got) -> None:
        """Let others take it again. The broker counts this as a delivery."""
        ...

    def publish(self, queue: str, got: Got) -> None:
        """Put a message into `queue` and wait until the broker has it; else raise."""
        ...

    def purge(self, queue: str) -> int:
        """Remove all messages that nobody holds; how many."""
        ...

    def lock(self, queue: str) -> bool:
        """Declare `queue` for this connection alone; False if another has it.

        RefusedError where the user may not.
        """
        ...

    def unlock(self, queue: str) -> None:
        """Delete what `lock` has declared."""
        ...

    def serve(self) -> None:
        """Send a heartbeat that is due, and read those of the broker. Waits for nothing."""
        ...

    def socket(self) -> Any:
        """The socket of the connection; None if there is none, or it cannot be found."""
        ...

    def another(self, *, heartbeat: int) -> Session:
        """A session of its own to the same broker, which ends after missed heartbeats (s)."""
        ...

    def close(self) -> None:
        """Drop the connection: what was taken and not settled goes back. Never raises."""
        ...


NO_LOCKS: Final = (
    "the user of the broker may not declare {queue}, by which reporters agree on one of them: "
    "allow `configure` of otq.reporter.*, or run one reporter alone with OTEL_QUEUE_STATE_LEASE=off"
)


class UnroutableError(Exception):
    """A message was not put into any queue."""
