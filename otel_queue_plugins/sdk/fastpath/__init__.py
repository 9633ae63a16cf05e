"""The fast path: spans and measurements of ours at less cost, with the SDK's own parts.

At each call the SDK cleans all attributes, hashes them, and asks its samplers. The attributes of
this package are clean and its series are few: most of these steps give the same result each time.
A step is left out only if the version of the SDK is in the table of proven versions, all classes
involved are the SDK's own (exact type, not patched), and a trial gives the same result both ways.
Otherwise the functions here return None or call the public API. `OTEL_QUEUE_FASTPATH=off` turns the
fast path off; `on` uses it with versions outside the table, too.

All private names of the SDK are in the other modules of this package. They are imported inside
`gate.attempt` only: a version of the SDK without one of these names is slower, but works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram
from opentelemetry.trace import Link, Span, SpanKind, Tracer

from otel_queue_plugins.sdk.fastpath import gate

__all__ = [
    "BeginSpan",
    "Merge",
    "Record",
    "add_event",
    "bind",
    "merge",
    "set_attributes",
    "spans",
]

Value = str | int | float | bool | tuple[str, ...]
About = Callable[[], tuple[dict[str, Value], Sequence[Link]]]
BeginSpan = Callable[[str, Context, SpanKind, About, int], Span]
Record = Callable[[float, Mapping[str, Value], Context], None]

Where = Callable[[int], tuple[Context, int]]
# The class of the SDK's spans, with the module that updates them; empty until a trial has passed.
_updates: dict[type, Any] = {}


class Merge(Protocol):
    """Records measurements of other processes; values are finite and allowed."""

    def record(self, value: float, attributes: Any, context: Context, at_ns: int) -> None:
        """Record one measurement of that time, in nanoseconds since the epoch."""
        ...

    def merge(
        self, values: Sequence[float], attributes: Any, marks: Sequence[int], where: Where
    ) -> None:
        """Record many of a histogram, one at least.

        Those with a mark that is not 0 may be exemplars; `where` gives their context and time.
        """
        ...


def spans(tracer: Tracer) -> BeginSpan | None:
    """Return a faster `tracer.start_span`, or None where the fast path is off.

    It takes a function that returns attributes and links, and calls it only for a span that is
    recorded. The attributes must be a new dict of `Value`s with non-empty names.
    """
    real = _unwrap_proxy(tracer, "ProxyTracer", "_tracer")
    return gate.attempt("spans", partial(_spans, real)) if _is_of_sdk(real) else None


def _spans(tracer: Any) -> BeginSpan:
    from otel_queue_plugins.sdk.fastpath import span_start, span_updates, trial

    trial.prove_spans()
    begin_span = span_start.fast_start(tracer)
    _updates[span_start.span_class()] = span_updates
    return begin_span


def set_attributes(span: Span, attributes: dict[str, Value]) -> None:
    """Do `span.set_attributes(attributes)`, faster where possible."""
    updates = _updates.get(type(span))
    if updates is None or not updates.set_attributes(span, attributes):
        span.set_attributes(attributes)


def add_event(span: Span, event: str, at_ns: int) -> None:
    """Do `span.add_event(event, None, at_ns)`, faster where possible."""
    updates = _updates.get(type(span))
    if updates is None or not updates.add_event(span, event, at_ns):
        span.add_event(event, None, at_ns)


def bind(histogram: Histogram) -> Record | None:
    """Return a faster `histogram.record`, or None where the fast path is off.

    It wants one dict of attributes for each series, which is kept and never changed.
    """
    real = _unwrap_proxy(histogram, "_ProxyHistogram", "_real_instrument")
    lasting: Record | None = getattr(real, "record_lasting", None)
    if lasting is not None:
        return lasting  # a histogram of the relay, which another process collects
    return gate.attempt("measurements", partial(_bind, real)) if _is_of_sdk(real) else None


def _bind(histogram: Any) -> Record:
    from otel_queue_plugins.sdk.fastpath import histograms, trial

    trial.prove_measurements()
    return histograms.fast_record(histogram)


def _unwrap_proxy(candidate: Any, proxy: str, attribute: str) -> Any:
    """The real object behind a proxy of the API; `candidate` itself if it is no proxy."""
    is_proxy = type(candidate).__name__ == proxy and _is_from(candidate, "opentelemetry.")
    return getattr(candidate, attribute, None) if is_proxy else candidate


def merge(instrument: Any) -> Merge | None:
    """What records with `instrument` for other processes; None where the fast path is off."""
    return gate.attempt("measurements of others", partial(_merge, instrument))


def _merge(instrument: Any) -> Merge:
    from otel_queue_plugins.sdk.fastpath import merging, trial

    trial.prove_merging()
    return merging.fast_merge(instrument)


def _is_of_sdk(candidate: object) -> bool:
    return _is_from(candidate, "opentelemetry.sdk.")


def _is_from(candidate: object, package: str) -> bool:
    return type(candidate).__module__.startswith(package)
