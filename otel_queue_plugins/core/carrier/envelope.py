"""Encode and decode the envelope.

`62f1a2b3c4d5e` is an enqueue time in microseconds since the epoch, in hex. Optional parts follow,
each as `;`, a letter and a value. The decoder ignores unknown parts and invalid values, so that the
sender may have another version of this package.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, NamedTuple

from opentelemetry.trace import SpanContext, TraceFlags

from otel_queue_plugins.core.messages import (
    NO_WORKFLOW,
    Joined,
    Trigger,
    Workflow,
    WorkflowStart,
)
from otel_queue_plugins.core.options import RELATIONS
from otel_queue_plugins.core.task_names import MARK_LENGTH

ASSUMED_FLAGS: Final = TraceFlags(TraceFlags.SAMPLED)
"""Of contexts that are known without their flags; a sampler must not follow them. Compare by `is`.
"""
MAX_LENGTH: Final = 512
_MICRO: Final = 1_000_000
_MAX_SECONDS: Final = 1e11
_ID_DIGITS: Final = 16
_TRIGGERS: Final[dict[str, Trigger]] = {"s": "schedule", "c": "callback", "w": "workflow"}
_SEPARATORS: Final = str.maketrans(dict.fromkeys(";:"))
_HEX: Final = frozenset("0123456789abcdef")
_CHAIN: Final = "c"
_NO_WORKFLOW: Final = "-"
_SPAN_ID_LENGTH: Final = 11


class Envelope(NamedTuple):
    """What a sender writes into a message. Times are seconds since the epoch.

    `eta` is the earliest start, where the framework does not carry it to the worker. Only a message
    that was enqueued again has `first_enqueued_at`, the time of its first enqueue, and `previous`,
    the process span of the attempt before. `start` is that of the workflow, which only a message
    that is not the first one carries; its `task` is "" where that is the task of the message.
    """

    enqueued_at: float
    relation: str | None = None
    eta: float | None = None
    first_enqueued_at: float | None = None
    previous: SpanContext | None = None
    trigger: Trigger | None = None
    workflow: Workflow | None = None
    joins: Joined | None = None
    start: WorkflowStart | None = None


def encode_time_only(micros: int) -> str:
    """Encode an envelope that has an enqueue time (microseconds since the epoch) and no parts."""
    return f"{micros:x}"


def encode(envelope: Envelope, creation: SpanContext | None) -> str:
    """Encode `envelope` as ASCII, for a carrier whose creation context is `creation`."""
    parts = [f";{key}{value}" for key, value in _encode_parts(envelope, creation) if value]
    return (encode_time_only(int(envelope.enqueued_at * _MICRO)) + "".join(parts))[:MAX_LENGTH]


def decode(text: object, creation: SpanContext | None) -> Envelope | None:
    """Decode an envelope; None if `text` is not a valid one. Never raises."""
    if not isinstance(text, str) or not 0 < len(text) <= MAX_LENGTH or not text.isascii():
        return None
    head, _, rest = text.partition(";")
    micros = _decode_number(head)
    if micros is None:
        return None
    if not rest:
        return Envelope(micros / _MICRO)
    parts = rest.split(";")
    return _decode_parts(micros / _MICRO, {part[:1]: part[1:] for part in parts}, creation)


def _encode_parts(envelope: Envelope, creation: SpanContext | None) -> list[tuple[str, str | None]]:
    enqueued_at, first = envelope.enqueued_at, envelope.first_enqueued_at
    triggers = (letter for letter, name in _TRIGGERS.items() if name == envelope.trigger)
    implied = envelope.trigger == _implied_trigger(envelope.workflow, envelope.joins)
    age = None if first is None else _encode_duration(enqueued_at - first)
    previous = _encode_span_id(envelope.previous, creation)
    return [
        ("r", envelope.relation),
        ("e", None if envelope.eta is None else _encode_duration(envelope.eta - enqueued_at)),
        ("a", previous and f"{previous}{age or ''}"),
        ("f", None if previous else age),
        ("p", None if previous or not envelope.previous else _encode_context(envelope.previous)),
        ("t", None if implied else next(triggers, None)),
        ("w", _encode_workflow(envelope.workflow) if envelope.workflow else None),
        ("j", _encode_joined(envelope.joins, creation) if envelope.joins else None),
        *(_encode_start(envelope.start, enqueued_at) if envelope.start else ()),
    ]


def _decode_parts(
    enqueued_at: float, found: dict[str, str], creation: SpanContext | None
) -> Envelope:
    relation, delay, retry = found.get("r"), _decode_number(found.get("e")), found.get("a", "")
    first = _decode_number(found.get("f") or retry[_SPAN_ID_LENGTH:])
    workflow = _decode_workflow(found.get("w", ""))
    joins = _decode_joined(found.get("j", ""), creation)
    return Envelope(
        enqueued_at=enqueued_at,
        relation=relation if relation in RELATIONS else None,
        eta=None if delay is None else enqueued_at + delay / 1000,
        first_enqueued_at=None if first is None else enqueued_at - first / 1000,
        previous=_decode_context(
            found.get("p") or _decode_span_id(retry[:_SPAN_ID_LENGTH]), creation
        ),
        trigger=_TRIGGERS.get(found.get("t", "")) or _implied_trigger(workflow, joins),
        workflow=workflow,
        joins=joins,
        start=_decode_start(found, enqueued_at),
    )


def _encode_duration(seconds: float) -> str | None:
    """Encode a duration as milliseconds in hex; None for infinity, NaN or thousands of years."""
    if not seconds < _MAX_SECONDS:
        return None
    return f"{round(max(0.0, seconds) * 1000):x}"


def _decode_number(text: str | None) -> int | None:
    """Decode a hex number of at most 60 bits; None if it is invalid."""
    if not text or len(text) >= _ID_DIGITS or not _HEX.issuperset(text):
        return None
    return int(text, 16)


def _decode_id(text: str) -> int | None:
    """Decode a hex number of exactly 64 bits; None if it is invalid."""
    return int(text, 16) if len(text) == _ID_DIGITS and _HEX.issuperset(text) else None


def header_safe(text: str) -> str:
    """`text` as ASCII without the separators `;` and `:`, at most 64 characters."""
    return text[:64].translate(_SEPARATORS).encode("ascii", "ignore").decode()


def _encode_span_id(context: SpanContext | None, creation: SpanContext | None) -> str | None:
    """Encode the span id in base 64 (RFC 4648, section 5); None if it is in another trace."""
    if context is None or creation is None or creation.trace_id != context.trace_id:
        return None
    return urlsafe_b64encode(context.span_id.to_bytes(8, "big")).decode()[:_SPAN_ID_LENGTH]


def _encode_context(context: SpanContext) -> str:
    return f"{context.trace_id:032x}{context.span_id:016x}"


def _decode_context(text: str, creation: SpanContext | None) -> SpanContext | None:
    span_id, trace = _decode_id(text[-_ID_DIGITS:]), text[:-_ID_DIGITS]
    trace_id = _decode_trace_id(trace) if trace else creation and creation.trace_id
    if not span_id or not trace_id:
        return None
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=ASSUMED_FLAGS)


def _decode_span_id(short: str) -> str:
    """Decode the span id that `_encode_span_id` has encoded, to hex digits."""
    try:
        return urlsafe_b64decode(f"{short}=").hex()
    except ValueError:
        return ""


def _implied_trigger(workflow: Workflow | None, joins: Joined | None) -> Trigger | None:
    """The trigger that the decoder derives from a chain or a group that has no id."""
    is_implied = (workflow and _is_chain_step(workflow)) or (joins and not joins.id)
    return "workflow" if is_implied else None


def _encode_start(start: WorkflowStart, enqueued_at: float) -> list[tuple[str, str | None]]:
    age = _encode_duration(enqueued_at - start.at)
    return [("B" if start.task else "b", age and f"{start.task}{age}")]


def _decode_start(found: dict[str, str], enqueued_at: float) -> WorkflowStart | None:
    text, other = found.get("b", ""), found.get("B", "")
    age = _decode_number(text or other[MARK_LENGTH:])
    return None if age is None else WorkflowStart(enqueued_at - age / 1000, other[:MARK_LENGTH])


def _is_chain_step(workflow: Workflow) -> bool:
    return workflow.kind == "chain" and workflow.step is not None and not workflow.id


def _encode_workflow(workflow: Workflow) -> str:
    if workflow == NO_WORKFLOW:
        return _NO_WORKFLOW
    step = "" if workflow.step is None else f"{workflow.step:x}"
    if _is_chain_step(workflow):
        return f"{_CHAIN}{step}"
    return f"{header_safe(workflow.kind)}:{header_safe(workflow.id)}:{step}"


def _decode_workflow(text: str) -> Workflow | None:
    if text == _NO_WORKFLOW:
        return NO_WORKFLOW
    kind, colon, rest = text.partition(":")
    if not colon:
        step = _decode_number(text[1:]) if text[:1] == _CHAIN else None
        return None if step is None else Workflow(kind="chain", id="", step=step)
    identity, _, step_text = rest.partition(":")
    if not (kind and identity):
        return None
    return Workflow(kind=kind, id=identity, step=_decode_number(step_text))


def _encode_joined(joined: Joined, creation: SpanContext | None) -> str:
    is_other_trace = creation is None or joined.trace_id != creation.trace_id
    trace_id = f":{joined.trace_id:032x}" if joined.trace_id and is_other_trace else ""
    return f"{header_safe(joined.id)}:{joined.size:x}{trace_id}"


def _decode_joined(text: str, creation: SpanContext | None) -> Joined | None:
    identity, _, rest = text.partition(":")
    size, _, trace = rest.partition(":")
    trace_id = _decode_trace_id(trace) if trace else creation and creation.trace_id
    count = _decode_number(size) or 0
    if not trace_id or not (identity or count):
        return None
    return Joined(id=identity, size=count, trace_id=trace_id)


def _decode_trace_id(text: str) -> int | None:
    high, low = _decode_id(text[:_ID_DIGITS]), _decode_id(text[_ID_DIGITS:])
    return None if high is None or low is None else high << 64 | low
