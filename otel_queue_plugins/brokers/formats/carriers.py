"""The creation context and our envelope out of the headers of a message that lies in a queue.

A command line reads messages of apps with other propagators than its own. What the configured one
does not find, W3C Trace Context and B3 are looked for by their own names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from opentelemetry import baggage
from opentelemetry.trace import SpanContext, TraceFlags

from otel_queue_plugins.core.carrier import envelope, propagation, traceparent
from otel_queue_plugins.core.carrier.envelope import Envelope
from otel_queue_plugins.core.semconv import CARRIER_KEY

Headers = Mapping[str, object]

_B3: Final = re.compile(
    r"([0-9a-f]{16}|[0-9a-f]{32})-([0-9a-f]{16})(?:-([01d]))?(?:-.*)?", re.ASCII
)
_B3_HEADERS: Final = ("x-b3-traceid", "x-b3-spanid", "x-b3-sampled")
_MAX_BAGGAGE: Final = 64


class Carried(NamedTuple):
    """What a sender gave along with a message; each part may be missing."""

    creation: SpanContext | None = None
    envelope: Envelope | None = None
    baggage: Mapping[str, str] = {}


def read(headers: Headers) -> Carried:
    """What `headers` say of their trace. Whatever they hold, this returns."""
    incoming = propagation.read(headers)
    creation = (
        incoming.creation
        or traceparent.decode(headers.get(traceparent.TRACEPARENT))
        or _b3(headers)
    )
    facts = incoming.envelope or envelope.decode(headers.get(CARRIER_KEY), creation)
    members = list(baggage.get_all(incoming.context).items())[:_MAX_BAGGAGE]
    return Carried(creation, facts, {key: str(value) for key, value in members})


def renewed(headers: Headers, *, now: float, cause: SpanContext | None) -> str:
    """The text of an envelope for a message that is enqueued again at `now`, because of `cause`.

    The next delivery links to `cause`. What the sender said of workflow and relation stays; when
    the message was first enqueued does, too.
    """
    carried = read(headers)
    sent = carried.envelope or Envelope(enqueued_at=now)
    again = sent._replace(
        enqueued_at=now,
        eta=None,
        first_enqueued_at=sent.first_enqueued_at or sent.enqueued_at,
        previous=cause or sent.previous,
    )
    return envelope.encode(again, carried.creation)


def _b3(headers: Headers) -> SpanContext | None:
    """A context as B3 writes it: in one header, or in one for each part, of any case."""
    lowered = {str(key).lower(): value for key, value in headers.items()}
    single = lowered.get("b3")
    text = single if isinstance(single, str) else _joined(lowered)
    match = _B3.fullmatch(text.lower())
    if match is None:
        return None
    trace_id, span_id = int(match[1], 16), int(match[2], 16)
    if not (trace_id and span_id):
        return None
    flags = TraceFlags(TraceFlags.SAMPLED if match[3] in {"1", "d"} else TraceFlags.DEFAULT)
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)


def _joined(lowered: Headers) -> str:
    parts = [str(lowered[name]) for name in _B3_HEADERS if name in lowered]
    return "-".join(parts)
