"""Wait for received telemetry, find it and sum it up; show all of it in a failure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from otel_queue_plugins.cli.store import TelemetryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_queue_plugins.cli.received import ReceivedPoint, ReceivedSpan

_SETTLE_S = 0.4


class Expectations(TelemetryStore):
    """A store that fails a test with the list of what arrived instead."""

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """The spans of one trace by start time."""
        found = [span for span in self.spans() if span.trace_id == trace_id]
        return sorted(found, key=lambda span: span.start_ns)

    def linked_to(self, trace_id: str) -> list[ReceivedSpan]:
        """The spans of OTHER traces with a link into this one, by start time."""
        found = [
            span
            for span in self.spans()
            if span.trace_id != trace_id and any(link.trace_id == trace_id for link in span.links)
        ]
        return sorted(found, key=lambda span: span.start_ns)

    def expect_trace(
        self,
        trace_id: str,
        count: int,
        *,
        timeout: float = 40,
        settle: float = _SETTLE_S,
    ) -> list[ReceivedSpan]:
        """Exactly `count` spans in one trace: wait for them, then `settle` seconds for one more.

        `settle` is four times the batch delay of `telemetry_environment`.
        """
        self.until(lambda: len(self.trace(trace_id)) >= count, f"{count} spans", timeout)
        self.wait_for(lambda: len(self.trace(trace_id)) > count, settle)
        spans = self.trace(trace_id)
        if len(spans) != count:
            raise AssertionError(f"expected {count} spans, got:\n{describe(spans)}")
        return spans

    def expect_span(
        self,
        name: str,
        *,
        trace_id: str | None = None,
        timeout: float = 40,
        **attributes: Any,
    ) -> ReceivedSpan:
        """The only span of that name, with `__` in an attribute's keyword read as a dot."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}

        def found() -> list[ReceivedSpan]:
            return [
                span
                for span in self.spans()
                if span.name == name
                and (trace_id is None or span.trace_id == trace_id)
                and wanted.items() <= dict(span.attributes).items()
            ]

        self.until(lambda: bool(found()), f"a span {name!r} with {wanted}", timeout)
        if len(found()) > 1:
            raise AssertionError(f"more than one span {name!r}:\n{describe(found())}")
        return found()[0]

    def latest_points(self, name: str, **attributes: Any) -> list[ReceivedPoint]:
        """The last point of each series of a metric, over all processes."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        series: dict[object, ReceivedPoint] = {}
        for point in self.points():
            if point.name == name and wanted.items() <= dict(point.attributes).items():
                series[_series(point)] = point
        return list(series.values())

    def total(self, name: str, **attributes: Any) -> float:
        """A cumulative sum over all its series and processes; for a histogram, its count."""
        return sum(
            point.histogram.count if point.histogram else (point.value or 0)
            for point in self.latest_points(name, **attributes)
        )

    def expect_total(
        self, name: str, expected: float, *, timeout: float = 40, **attributes: Any
    ) -> None:
        """Wait until `total` is `expected`; more, or still less at the deadline, fails."""
        self.wait_for(lambda: self.total(name, **attributes) >= expected, timeout)
        if (total := self.total(name, **attributes)) != expected:
            raise AssertionError(f"{name} {attributes} is {total}, not {expected}")

    def until(self, condition: Callable[[], bool], what: str, timeout: float = 40) -> None:
        """Wait for a condition on what arrived; at the deadline fail, and show all of it."""
        began = time.monotonic()
        if not self.wait_for(condition, timeout):
            waited = time.monotonic() - began
            raise AssertionError(f"no {what} after {waited:.1f} s:\n{describe(self.spans())}")


def describe(spans: list[ReceivedSpan]) -> str:
    """One line for each span, to read in a failure."""
    return (
        "\n".join(
            f"  {span.trace_id[:6]} {span.span_id} < {span.parent_id or '-':16} {span.service} "
            f"{span.kind} {span.name!r} {span.status} {1000 * span.duration_s:.1f} ms "
            f"{dict(span.attributes)}"
            for span in spans
        )
        or "  nothing"
    )


def _series(point: ReceivedPoint) -> object:
    instance = tuple(sorted((key, repr(value)) for key, value in point.resource.items()))
    return instance, tuple(sorted((key, repr(value)) for key, value in point.attributes.items()))
