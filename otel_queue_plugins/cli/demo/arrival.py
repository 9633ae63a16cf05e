"""What of the expected telemetry has arrived, and what has not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from otel_queue_plugins.cli.demo.stories import Story
from otel_queue_plugins.cli.received import ReceivedPoint, ReceivedSpan
from otel_queue_plugins.cli.view.metrics import total
from otel_queue_plugins.cli.view.trace import Trace, traces
from otel_queue_plugins.core import semconv


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """The telemetry of a run held against its stories. `missing` has one line for each lack."""

    spans: int
    expected_spans: int
    missing: tuple[str, ...]


def check(
    stories: Sequence[Story], spans: Sequence[ReceivedSpan], points: Sequence[ReceivedPoint]
) -> Arrival:
    """How much has arrived of what `stories` cause."""
    lacks = {story: story.spans() - _told(story, spans) for story in stories}
    expected = sum(story.spans().total() for story in stories)
    lines = [
        f"{story.title} ({story.request}): {number} x {name}"
        for story, lack in lacks.items()
        for name, number in lack.items()
    ]
    return Arrival(
        spans=expected - sum(lack.total() for lack in lacks.values()),
        expected_spans=expected,
        missing=(*lines, *_missing_counts(stories, points)),
    )


def trace_of(story: Story, spans: Sequence[ReceivedSpan]) -> Trace | None:
    """The trace that the story's request began."""
    ids = {span.trace_id for span in spans if span.name == story.request}
    found = traces(span for span in spans if span.trace_id in ids)
    return found[0] if found else None


def _told(story: Story, spans: Sequence[ReceivedSpan]) -> Counter[str]:
    trace = trace_of(story, spans)
    return Counter(_label(row.span) for row in trace.rows) if trace else Counter()


def _label(span: ReceivedSpan) -> str:
    outcome = span.attributes.get(semconv.TASK_OUTCOME)
    return f"{span.name}: {outcome}" if outcome else span.name


def _missing_counts(stories: Sequence[Story], points: Sequence[ReceivedPoint]) -> list[str]:
    sent = sum(sum(story.sends.values()) for story in stories)
    delivered = sum(sum(story.deliveries.values()) for story in stories)
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
