"""Our spans and measurements at less cost, with the SDK's own parts, where that is proven equal.

The SDK cleans every attribute, hashes every set of them and asks its own samplers at each call.
Our attributes are clean and our series few, so most of that gives the same answer each time.
Nothing is shortened unless the version of the SDK is one that this was proven with, every part
involved is the SDK's own, by exact type and unpatched, and a trial run came out equal. Otherwise
each function here says so, and the public API is used. `OTEL_QUEUE_FASTPATH=off` turns all of it
off, `on` leaves the versions out of account.

All that touches what is private is in the other modules of this package, which are only imported
inside of `gate.attempt`: a version of the SDK without one of the names costs speed, and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram
from opentelemetry.trace import Link, Span, SpanKind, Tracer

from otel_queue_plugins.sdk.fastpath import gate

__all__ = ["BeginSpan", "Merge", "Record", "bind", "merge", "note", "put", "spans"]

Value = str | int | float | bool
About = Callable[[], tuple[dict[str, Value], Sequence[Link]]]
BeginSpan = Callable[[str, Context, SpanKind, About, int], Span]
Record = Callable[[float, Mapping[str, Value], Context], None]


Where = Callable[[int], tuple[Context, int]]


class Merge(Protocol):
    """Records what was measured elsewhere; values are finite and may be recorded."""

    def record(self, value: float, attributes: Any, context: Context, at_ns: int) -> None:
        """One measurement of that time, in nanoseconds since the epoch."""
        ...

    def merge(
        self, values: Sequence[float], attributes: Any, marks: Sequence[int], where: Where
    ) -> None:
        """Many of a histogram, one at least.

        Those with a mark that is not 0 may be exemplars; `where` has their context and time.
        """
        ...


# The class of spans that `put` and `note` need not hand over, once there are any, and what does it.
_proven: dict[type, Any] = {}


def spans(tracer: Tracer) -> BeginSpan | None:
    """`tracer.start_span` at less cost, None where that cannot be had.

    Attributes and links are what a function returns that is only called where somebody sees them.
    The attributes must be a fresh dict of `Value`s with non-empty names.
    """
    real = _behind(tracer, "ProxyTracer", "_tracer")
    return gate.attempt("spans", partial(_spans, real)) if _is_of_sdk(real) else None


def _spans(tracer: Any) -> BeginSpan:
    from otel_queue_plugins.sdk.fastpath import span_additions as adding
    from otel_queue_plugins.sdk.fastpath import span_start, trial

    trial.prove_spans()
    begin_span = span_start.direct(tracer)
    _proven[span_start.span_class()] = adding
    return begin_span


def put(span: Span, attributes: dict[str, Value]) -> None:
    """`span.set_attributes(attributes)` at less cost, where that can be had."""
    adding = _proven.get(type(span))
    if adding is None or not adding.put(span, attributes):
        span.set_attributes(attributes)


def note(span: Span, event: str, at_ns: int) -> None:
    """`span.add_event(event, None, at_ns)` at less cost, where that can be had."""
    adding = _proven.get(type(span))
    if adding is None or not adding.note(span, event, at_ns):
        span.add_event(event, None, at_ns)


def bind(histogram: Histogram) -> Record | None:
    """`histogram.record` at less cost, None where that cannot be had.

    Attributes are dicts that live long, one per series, and are not changed after their first use.
    """
    real = _behind(histogram, "_ProxyHistogram", "_real_instrument")
    lasting: Record | None = getattr(real, "record_lasting", None)
    if lasting is not None:
        return lasting  # of one that is collected in another process
    return gate.attempt("measurements", partial(_bind, real)) if _is_of_sdk(real) else None


def _bind(histogram: Any) -> Record:
    from otel_queue_plugins.sdk.fastpath import histograms, trial

    trial.prove_measurements()
    return histograms.direct(histogram)


def merge(instrument: Any) -> Merge | None:
    """What records with `instrument` for other processes, None where that cannot be had."""
    return gate.attempt("measurements of others", partial(_merge, instrument))


def _merge(instrument: Any) -> Merge:
    from otel_queue_plugins.sdk.fastpath import merging, trial

    trial.prove_merging()
    return merging.direct(instrument)


def _behind(given: Any, proxy: str, name: str) -> Any:
    """What the API's proxy `given` stands for; `given` itself if it is none."""
    is_proxy = type(given).__name__ == proxy and _is_from(given, "opentelemetry.")
    return getattr(given, name, None) if is_proxy else given


def _is_of_sdk(given: object) -> bool:
    return _is_from(given, "opentelemetry.sdk.")


def _is_from(given: object, package: str) -> bool:
    return type(given).__module__.startswith(package)
