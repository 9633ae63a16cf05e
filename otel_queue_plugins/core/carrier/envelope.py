"""What we write beside the propagators' keys: one short string, read without trust.

`62f1a2b3c4d5e` is an enqueue time in microseconds since the epoch, in hex. Facts that are not
always there follow, each as `;`, a letter and a value. Unknown parts are passed over, so that
versions of this package can differ between sender and worker.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, NamedTuple

from opentelemetry.trace import SpanContext, TraceFlags

from otel_queue_plugins.core.messages import NO_WORKFLOW, Joined, Trigger, Workflow
from otel_queue_plugins.core.options import RELATIONS

MAX_LENGTH: Final = 512
_MICRO: Final = 1_000_000
_TOO_LONG: Final = 1e11
_ID_DIGITS: Final = 16
_TRIGGERS: Final[dict[str, Trigger]] = {"s": "schedule", "c": "callback", "w": "workflow"}
_UNSAFE: Final = str.maketrans(dict.fromkeys(";:"))
_HEX: Final = frozenset("0123456789abcdef")
_CHAIN: Final = "c"
_NO_WORKFLOW: Final = "-"
_SHORT_ID: Final = 11


class Envelope(NamedTuple):
    """The facts of one enqueue. Times are seconds since the epoch.

    `first_enqueued_at` is the first enqueue of a message that was enqueued again, `previous` the
    process span of the attempt before, `eta` the earliest start where the framework forgets it.
    """

    enqueued_at: float
    relation: str | None = None
    eta: float | None = None
    first_enqueued_at: float | None = None
    previous: SpanContext | None = None
    trigger: Trigger | None = None
    workflow: Workflow | None = None
    joins: Joined | None = None


def encode_time_only(micros: int) -> str:
    """The string for an enqueue at `micros` that has nothing more to say."""
    return f"{micros:x}"


def encode(envelope: Envelope, creation: SpanContext | None) -> str:
    """The string for `envelope`, in a carrier whose creation context is `creation`; ASCII."""
    parts = [f";{key}{value}" for key, value in _parts(envelope, creation) if value]
    return (encode_time_only(int(envelope.enqueued_at * _MICRO)) + "".join(parts))[:MAX_LENGTH]


def decode(text: object, creation: SpanContext | None) -> Envelope | None:
    """The envelope in `text`, or None if it is none. Never raises."""
    if not isinstance(text, str) or not 0 < len(text) <= MAX_LENGTH or not text.isascii():
        return None
    head, _, rest = text.partition(";")
    micros = _number(head)
    if micros is None:
        return None
    if not rest:
        return Envelope(micros / _MICRO)
    parts = rest.split(";")
    return _with_parts(micros / _MICRO, {part[:1]: part[1:] for part in parts}, creation)


def _parts(envelope: Envelope, creation: SpanContext | None) -> list[tuple[str, str | None]]:
    since, first = envelope.enqueued_at, envelope.first_enqueued_at
    triggers = (letter for letter, name in _TRIGGERS.items() if name == envelope.trigger)
    implied = envelope.trigger == _implied_trigger(envelope.workflow, envelope.joins)
    ago = None if first is None else _millis(since - first)
    here = _short_id(envelope.previous, creation)
    return [
        ("r", envelope.relation),
        ("e", None if envelope.eta is None else _millis(envelope.eta - since)),
        ("a", here and f"{here}{ago or ''}"),
        ("f", None if here else ago),
        ("p", None if here or not envelope.previous else _context_text(envelope.previous)),
        ("t", None if implied else next(triggers, None)),
        ("w", _workflow_text(envelope.workflow) if envelope.workflow else None),
        ("j", _joined_text(envelope.joins, creation) if envelope.joins else None),
    ]


def _with_parts(since: float, found: dict[str, str], creation: SpanContext | None) -> Envelope:
    relation, until, again = found.get("r"), _number(found.get("e")), found.get("a", "")
    first = _number(found.get("f") or again[_SHORT_ID:])
    workflow, joins = _workflow(found.get("w", "")), _joined(found.get("j", ""), creation)
    return Envelope(
        enqueued_at=since,
        relation=relation if relation in RELATIONS else None,
        eta=None if until is None else since + until / 1000,
        first_enqueued_at=None if first is None else since - first / 1000,
        previous=_context(found.get("p") or _long_id(again[:_SHORT_ID]), creation),
        trigger=_TRIGGERS.get(found.get("t", "")) or _implied_trigger(workflow, joins),
        workflow=workflow,
        joins=joins,
    )


def _millis(seconds: float) -> str | None:
    """Milliseconds in hex; None for what is no span of time (infinity, millennia, not a number)."""
    if not seconds < _TOO_LONG:
        return None
    return f"{round(max(0.0, seconds) * 1000):x}"


def _number(text: str | None) -> int | None:
    """The hex number `text`, of at most 60 bits, else None."""
    if not text or len(text) >= _ID_DIGITS or not _HEX.issuperset(text):
        return None
    return int(text, 16)


def _id(text: str) -> int | None:
    """The hex number `text` of 64 bits, else None."""
    return int(text, 16) if len(text) == _ID_DIGITS and _HEX.issuperset(text) else None


def header_safe(text: str) -> str:
    """`text` without what would end a part, ASCII, at most 64 characters."""
    return text[:64].translate(_UNSAFE).encode("ascii", "ignore").decode()


def _short_id(context: SpanContext | None, creation: SpanContext | None) -> str | None:
    """The span id of `context` in base 64 (RFC 4648, section 5) if it is in the same trace."""
    if context is None or creation is None or creation.trace_id != context.trace_id:
        return None
    return urlsafe_b64encode(context.span_id.to_bytes(8, "big")).decode()[:_SHORT_ID]


def _context_text(context: SpanContext) -> str:
    return f"{context.trace_id:032x}{context.span_id:016x}"


def _context(text: str, creation: SpanContext | None) -> SpanContext | None:
    span_id, trace = _id(text[-_ID_DIGITS:]), text[:-_ID_DIGITS]
    trace_id = _trace_id(trace) if trace else creation and creation.trace_id
    if not span_id or not trace_id:
        return None
    sampled = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=sampled)


def _long_id(short: str) -> str:
    """The hex digits of a span id that was written by `_short_id`."""
    try:
        return urlsafe_b64decode(f"{short}=").hex()
    except ValueError:
        return ""


def _implied_trigger(workflow: Workflow | None, joins: Joined | None) -> Trigger | None:
    """Why a message is sent whose chain or group the receiver has to know."""
    known = (workflow and _is_short(workflow)) or (joins and not joins.id)
    return "workflow" if known else None


def _is_short(workflow: Workflow) -> bool:
    return workflow.kind == "chain" and workflow.step is not None and not workflow.id


def _workflow_text(workflow: Workflow) -> str:
    if workflow == NO_WORKFLOW:
        return _NO_WORKFLOW
    step = "" if workflow.step is None else f"{workflow.step:x}"
    if _is_short(workflow):
        return f"{_CHAIN}{step}"
    return f"{header_safe(workflow.kind)}:{header_safe(workflow.id)}:{step}"


def _workflow(text: str) -> Workflow | None:
    if text == _NO_WORKFLOW:
        return NO_WORKFLOW
    kind, colon, rest = text.partition(":")
    if not colon:
        step = _number(text[1:]) if text[:1] == _CHAIN else None
        return None if step is None else Workflow(kind="chain", id="", step=step)
    identity, _, told = rest.partition(":")
    return Workflow(kind=kind, id=identity, step=_number(told)) if kind and identity else None


def _joined_text(joined: Joined, creation: SpanContext | None) -> str:
    elsewhere = creation is None or joined.trace_id != creation.trace_id
    trace_id = f":{joined.trace_id:032x}" if joined.trace_id and elsewhere else ""
    return f"{header_safe(joined.id)}:{joined.size:x}{trace_id}"


def _joined(text: str, creation: SpanContext | None) -> Joined | None:
    identity, _, rest = text.partition(":")
    size, _, trace = rest.partition(":")
    trace_id = _trace_id(trace) if trace else creation and creation.trace_id
    count = _number(size) or 0
    if not trace_id or not (identity or count):
        return None
    return Joined(id=identity, size=count, trace_id=trace_id)


def _trace_id(text: str) -> int | None:
    high, low = _id(text[:_ID_DIGITS]), _id(text[_ID_DIGITS:])
    return None if high is None or low is None else high << 64 | low
