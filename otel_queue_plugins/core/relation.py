"""The relation of a process span to its creation context: `child`, `link`, `none` or `auto`."""

from __future__ import annotations

from opentelemetry.trace import Link, SpanContext

from otel_queue_plugins.core.carrier import ids
from otel_queue_plugins.core.carrier.propagation import Incoming
from otel_queue_plugins.core.messages import Message
from otel_queue_plugins.core.metrics.waiting import Waiting
from otel_queue_plugins.core.options import Options


def for_message(message: Message, options: Options) -> str | None:
    """The relation to write into the envelope; None for `child`, which is the default."""
    relation = message.relation or options.relation
    size = message.membership.size if message.membership else None
    if relation == "auto" and size and size >= options.auto_link_fan_out:
        return "link"
    return None if relation == "child" else relation


def for_delivery(incoming: Incoming, waiting: Waiting, options: Options) -> str:
    """`child`, `link` or `none` for this delivery. The sender's relation wins over the option."""
    chosen = incoming.envelope.relation or "child" if incoming.envelope else options.relation
    if chosen != "auto":
        return chosen
    is_late = (waiting.wait or 0.0) > options.auto_link_after
    is_retry = incoming.envelope is not None and incoming.envelope.previous is not None
    is_scheduled = waiting.scheduled_delay and not is_retry
    return "link" if is_late or is_scheduled else "child"


def links(incoming: Incoming, relation: str, group: str | None = None) -> list[Link]:
    """Links of a process span: creation context, previous attempt, joined members; at most 20.

    `group` is the id of the joined group where the envelope leaves it out.
    """
    # No link to the parent: backends store each link as a row, and it would say nothing new.
    creation, envelope = incoming.creation, incoming.envelope
    found = [Link(creation)] if creation and relation == "link" else []
    if envelope is None:
        return found
    if envelope.previous and not (relation != "none" and _is_same(envelope.previous, creation)):
        found.append(Link(envelope.previous))
    if envelope.joins:
        found.extend(Link(member) for member in ids.member_contexts(envelope.joins, group))
    return found[: ids.MAX_LINKS]


def _is_same(context: SpanContext, other: SpanContext | None) -> bool:
    """Whether both are one span, as for a message whose creation context is its first attempt."""
    return other is not None and context.span_id == other.span_id
