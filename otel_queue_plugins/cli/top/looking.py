"""One look at messages; where it would disturb it is not made, unless that was allowed."""

from __future__ import annotations

from dataclasses import dataclass

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.facts import Found, State, StoredMessage
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.brokers.selection import Selection
from otel_queue_plugins.cli.queues.queues_command import chosen_names
from otel_queue_plugins.cli.top.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen, or why nothing was."""

    messages: tuple[StoredMessage, ...] = ()
    is_disturbed: bool = False
    refused: str = ""
    problem: str = ""

    @property
    def may_be_repeated(self) -> bool:
        """Whether to look again without being asked to."""
        return not (self.is_disturbed or self.refused)


def look(session: Session, queue: str, state: State, selection: Selection) -> Seen:
    """The first messages. Raises BrokerError."""
    try:
        return _look(session, queue, state, selection, disturb=False)
    except RefusedError as error:
        if not session.parsed.disturb:
            return Seen(refused=str(error))
    try:
        return _look(session, queue, state, selection, disturb=True)
    except RefusedError as error:
        return Seen(refused=str(error))


def find(session: Session, prefix: str) -> Found:
    """The messages whose id begins so, in every state of every queue. Raises BrokerError."""
    parsed = session.parsed

    def ask(reader: QueueReader) -> Found:
        names = chosen_names(reader, parsed.queues)
        return reader.find(prefix, queues=names, limit=parsed.limit, disturb=parsed.disturb)

    return session.messages.look(ask)


def _look(
    session: Session, queue: str, state: State, selection: Selection, *, disturb: bool
) -> Seen:
    found = session.messages.look(
        lambda reader: reader.peek(
            queue, state, limit=session.parsed.limit, selection=selection, disturb=disturb
        )
    )
    return Seen(messages=tuple(found), is_disturbed=disturb)
