"""What of the expected telemetry has arrived, and what has not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from otel_queue_plugins.cli.demo.scenarios import Scenario
from otel_queue_plugins.cli.received import ReceivedPoint, ReceivedSpan
from otel_queue_plugins.cli.view.metrics import total
from otel_queue_plugins.cli.view.trace import Trace, traces
from otel_queue_plugins.core import semconv


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """The telemetry of a run held against its scenarios. `missing` has one line for each lack."""

    spans: int
    expected_spans: int
    missing: tuple[str, ...]


def check(
    scenarios: Sequence[Scenario], spans: Sequence[ReceivedSpan], points: Sequence[ReceivedPoint]
) -> Arrival:
    """How much has arrived of what `scenarios` cause."""
    lacks = {scenario: scenario.spans() - _told(scenario, spans) for scenario in scenarios}
    expected = sum(scenario.spans().total() for scenario in scenarios)
    lines = [
        f"{scenario.title} ({scenario.request}): {number} x {name}"
        for scenario, lack in lacks.items()
        for name, number in lack.items()
    ]
    return Arrival(
        spans=expected - sum(lack.total() for lack in lacks.values()),
        expected_spans=expected,
        missing=(*lines, *_missing_counts(scenarios, points)),
    )


def trace_of(scenario: Scenario, spans: Sequence[ReceivedSpan]) -> Trace | None:
    """The trace that the scenario's request began."""
    ids = {span.trace_id for span in spans if span.name == scenario.request}
    found = traces(span for span in spans if span.trace_id in ids)
    return found[0] if found else None


def _told(scenario: Scenario, spans: Sequence[ReceivedSpan]) -> Counter[str]:
    trace = trace_of(scenario, spans)
    return Counter(_label(row.span) for row in trace.rows) if trace else Counter()


def _label(span: ReceivedSpan) -> str:
    outcome = span.attributes.get(semconv.TASK_OUTCOME)
    return f"{span.name}: {outcome}" if outcome else span.name


def _missing_counts(scenarios: Sequence[Scenario], points: Sequence[ReceivedPoint]) -> list[str]:
    sent = sum(sum(scenario.sends.values()) for scenario in scenarios)
    delivered = sum(sum(scenario.deliveries.values()) for scenario in scenarios)
    expected = {
        semconv.SENT_MESSAGES: sent,
        semconv.CONSUMED_MESSAGES: delivered,
        semconv.PROCESS_DURATION: delivered,
        semconv.WAIT: delivered,
    }
    found = {name: total(points, name) for name in expected}
    return [
        f"metric {name}: {found[name]:g} of {number}"
        for name, number in expected.items()
        if found[name] < number
    ]
