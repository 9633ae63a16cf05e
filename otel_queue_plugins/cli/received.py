"""What arrived over OTLP, as frozen facts.

Times are nanoseconds since the epoch, ids lower-case hex, enums lower-case words (`producer`,
`error`, `cumulative`); names and meanings are those of opentelemetry-proto v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Attributes = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedEvent:
    """A span event."""

    name: str
    time_ns: int
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedLink:
    """A span link."""

    trace_id: str
    span_id: str
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedSpan:
    """One span. `parent_id` is empty for a root."""

    service: str
    resource: Attributes
    scope_name: str
    scope_version: str
    schema_url: str
    trace_id: str
    span_id: str
    parent_id: str
    trace_state: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    status: str
    status_description: str
    attributes: Attributes
    events: tuple[ReceivedEvent, ...]
    links: tuple[ReceivedLink, ...]

    @property
    def duration_s(self) -> float:
        """Seconds from start to end."""
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedExemplar:
    """A measurement that points at the span it was recorded in."""

    value: float
    time_ns: int
    trace_id: str
    span_id: str
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedHistogram:
    """A distribution. `bounds` is empty for an exponential histogram."""

    count: int
    sum: float
    bounds: tuple[float, ...]
    bucket_counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedPoint:
    """One data point; `value` for `sum` and `gauge`, `histogram` for the kinds of that name."""

    service: str
    resource: Attributes
    scope_name: str
    schema_url: str
    name: str
    unit: str
    description: str
    kind: str
    monotonic: bool
    temporality: str
    attributes: Attributes
    value: float | None
    histogram: ReceivedHistogram | None
    start_ns: int
    time_ns: int
    exemplars: tuple[ReceivedExemplar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedLog:
    """One log record. Ids are empty outside a span."""

    service: str
    resource: Attributes
    scope_name: str
    time_ns: int
    severity: str
    body: Any
    event_name: str
    attributes: Attributes
    trace_id: str
    span_id: str
