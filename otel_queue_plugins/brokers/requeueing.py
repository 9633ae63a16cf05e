"""Messages moved one after the other: dead letters to the workers, or chosen ones away."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opentelemetry.trace import SpanContext

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.facts import Change, StoredMessage
from otel_queue_plugins.brokers.storage import Storage

GONE = "gone meanwhile"

Moved = Callable[[StoredMessage], object]


def nothing(_message: StoredMessage) -> None:
    """For who does not wait between two messages."""


def put_back(
    storage: Storage,
    queue: str,
    messages: Iterable[StoredMessage],
    *,
    clock: Callable[[], float],
    cause: SpanContext | None,
    moved: Moved,
) -> Change:
    """Put `messages` back. One that cannot be is left where it is, and the others go on."""
    matched = done = 0
    left: dict[str, int] = {}
    for message in messages:
        matched += 1
        try:
            reason = "" if storage.put_back(message, clock(), cause) else GONE
        except RefusedError as error:
            reason = str(error)
        if reason:
            left[reason] = left.get(reason, 0) + 1
        else:
            done += 1
            moved(message)
    return Change(queue=queue, state="dead", matched=matched, done=done, left=left)


def take_away(
    storage: Storage, messages: Iterable[StoredMessage], receipt: str, moved: Moved
) -> int:
    """Remove `messages`; how many were still there. `undo` finds them by `receipt`."""
    done = 0
    for message in messages:
        if storage.remove(message, receipt):
            done += 1
            moved(message)
    return done
