"""How a process span relates to the send span: child, link, none or auto."""

from __future__ import annotations

from opentelemetry.trace import Link, SpanContext

from otel_queue_plugins.core.carrier.propagation import Incoming
from otel_queue_plugins.core.messages import Message
from otel_queue_plugins.core.metrics.waiting import Waiting
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.spans import ids


def for_message(message: Message, options: Options) -> str | None:
    """What the carrier must say: None for `child`, which readers take for granted."""
    relation = message.relation or options.relation
    size = message.membership.size if message.membership else None
    if relation == "auto" and size and size >= options.auto_link_fan_out:
        return "link"
    return None if relation == "child" else relation


def for_delivery(incoming: Incoming, waiting: Waiting, options: Options) -> str:
    """`child`, `link` or `none` for this delivery; the sender's word counts, if there is one."""
    told = incoming.envelope.relation or "child" if incoming.envelope else options.relation
    if told != "auto":
        return told
    late = (waiting.wait or 0.0) > options.auto_link_after
    retried = incoming.envelope is not None and incoming.envelope.previous is not None
    scheduled = waiting.scheduled_delay and not retried
    return "link" if late or scheduled else "child"


def links(incoming: Incoming, relation: str, group: str | None = None) -> list[Link]:
    """Links to the attempt before and to what the message joins, at most 20.

    The creation context comes first where `relation` is `link`. A parent has none: backends store
    each link as a row of its own, and that one tells nothing. `group` is what the message joins
    where the sender left that out.
    """
    creation, facts = incoming.creation, incoming.envelope
    found = [Link(creation)] if creation and relation == "link" else []
    if facts is None:
        return found
    if facts.previous and not (relation != "none" and _is_same(facts.previous, creation)):
        found.append(Link(facts.previous))
    if facts.joins:
        found.extend(Link(member) for member in ids.member_contexts(facts.joins, group))
    return found[: ids.MAX_LINKS]


def _is_same(context: SpanContext, other: SpanContext | None) -> bool:
    """Whether both are one span: the first attempt of a message that came without a context."""
    return other is not None and context.span_id == other.span_id
