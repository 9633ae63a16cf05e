"""The trial of the encoder: some spans and log records must come out the same both ways."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanKind, StatusCode

from otel_queue_plugins.sdk.fastpath import trial_contexts
from otel_queue_plugins.sdk.fastpath.encoding.encoder import Encoder

_ATTRIBUTES: dict[str, Any] = {
    "text": "a",
    "text.long": "\u20ac" * 100,
    "yes": True,
    "one": 1,
    "least": -(2**63),
    "share": 0.5,
    "texts": ("a", "b"),
    "numbers": (1, 2),
}
_REMOTE, _LOCAL = trial_contexts.REMOTE, trial_contexts.LOCAL
_CONTEXTS = [Context(), *map(trial_contexts.context_of, (_REMOTE, _LOCAL))]
_RESOURCE = Resource(_ATTRIBUTES, "of the resource")
_NO_LIMIT = SpanLimits.UNSET


def has_passed(encoder: Encoder, records: Sequence[Any]) -> bool:
    """Whether `encoder` gives the same for `records` as the official one. May raise anything."""
    signal = encoder.signal
    for record in records:
        signal.encode(record)  # raises where the official encoder would have to do it
    expected = signal.official(records)
    return bool(type(expected).FromString(encoder.request(records)) == expected)


def spans() -> list[ReadableSpan]:
    """Spans with everything a span may have, as an exporter gets them."""
    recorded: list[ReadableSpan] = []
    processor: Any = SpanProcessor()
    processor.on_end = recorded.append
    for most in (128, 0):
        limits = SpanLimits(most, most, most, most, most, most, _NO_LIMIT, _NO_LIMIT)
        provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=_RESOURCE,
            shutdown_on_exit=False,
            span_limits=limits,
            meter_provider=NoOpMeterProvider(),
        )
        provider.add_span_processor(processor)
        for version in ("1", "2"):
            _record(provider.get_tracer("trial", version, "of the scope", {"a": 1}))
    return recorded


def _record(tracer: Any) -> None:
    for kind, context in zip(SpanKind, cycle(_CONTEXTS), strict=False):
        links = [Link(_REMOTE, {"a": 1}), Link(_LOCAL)]
        span = tracer.start_span("trial", context, kind, _ATTRIBUTES, links, 1_000)
        span.add_event("event", {"b": 2}, 2_000)
        span.add_event("event")
        span.end(3_000)
    for code in StatusCode:
        span = tracer.start_span("trial", Context())
        span.set_status(code, "no" if code is StatusCode.ERROR else None)
        span.end()


def logs() -> list[ReadableLogRecord]:
    """Log records with everything a log record may have, as an exporter gets them."""
    scope = InstrumentationScope("trial", "1", "of the scope", {"a": 1})
    bodies = ("text", None, {"a": ["b", 1, 0.5, None, b"c"]})
    records = [_log_record(context, body) for context in _CONTEXTS for body in bodies]
    records.append(LogRecord(observed_timestamp=2_000, context=Context()))
    return [ReadableLogRecord(each, _RESOURCE, s) for s in (scope, None) for each in records]


def _log_record(context: Context, body: Any) -> LogRecord:
    return LogRecord(
        timestamp=1_000,
        observed_timestamp=2_000,
        context=context,
        severity_text="WARN",
        severity_number=SeverityNumber.WARN,
        body=body,
        attributes=BoundedAttributes(0 if body is None else 128, _ATTRIBUTES),
        event_name="event",
    )
