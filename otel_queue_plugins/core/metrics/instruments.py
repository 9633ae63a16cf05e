"""The instruments of one meter."""

from __future__ import annotations

from typing import Any

from opentelemetry.metrics import Counter, Histogram, Meter

from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.api.recorder import Recorder
from otel_queue_plugins.core.metrics.observed import Counts


class Instruments:
    """The counters and histograms of messages.

    `optional` names the instruments to create besides the default ones, and `has_objectives` asks
    for that of objectives. `counts` is read by the observable ones at each collection.
    """

    def __init__(
        self,
        meter: Meter,
        *,
        optional: frozenset[str],
        has_objectives: bool,
        counts: Counts,
        recorder: Recorder,
    ) -> None:
        self.record_send_duration = recorder.record_of(
            _histogram(meter, semconv.OPERATION_DURATION, "How long sending a message took")
        )
        self.record_process_duration = recorder.record_of(
            _histogram(meter, semconv.PROCESS_DURATION, "How long running a task took")
        )
        self.record_wait = recorder.record_of(
            _histogram(meter, semconv.WAIT, "How long a message was ready and nobody ran it")
        )
        self.drift = _histogram(meter, semconv.SCHEDULE_DRIFT, "How late a scheduled task started")
        self.workflow_duration = _histogram(
            meter, semconv.WORKFLOW_DURATION, "From the first send to the end of the last step"
        )
        self.prefetch_wait = _optional(
            meter, semconv.PREFETCH_WAIT, optional, "The part of the wait inside the worker"
        )
        self.completion = _optional(
            meter, semconv.COMPLETION, optional, "From the first enqueue to the final outcome"
        )
        self.retries = _counter(
            meter, semconv.RETRIES, "{retry}", "Attempts that will be tried again"
        )
        self.dead_letters = _counter(
            meter, semconv.DEAD_LETTERS, "{message}", "Messages moved to a dead-letter queue"
        )
        self.slo_deliveries = (
            _counter(meter, semconv.SLO_DELIVERIES, "{message}", "Deliveries held to an objective")
            if has_objectives
            else None
        )
        self.fetches = (
            _counter(meter, semconv.FETCHES, "{fetch}", "Polls of the broker, by their result")
            if semconv.FETCHES in optional
            else None
        )
        self.cancellations = _counter(
            meter, semconv.CANCELLATIONS, "{message}", "Messages taken back before their end"
        )
        _observe(meter, counts)


def _observe(meter: Meter, counts: Counts) -> None:
    meter.create_observable_counter(
        semconv.SENT_MESSAGES, [counts.sent.observe], "{message}", "Messages that were sent"
    )
    meter.create_observable_counter(
        semconv.CONSUMED_MESSAGES, [counts.consumed.observe], "{message}", "Deliveries, by outcome"
    )
    for name, observe, unit, description in (
        (semconv.IN_FLIGHT, counts.observe_in_flight, "{task}", "Tasks running in this process"),
        (semconv.LONGEST_RUNNING, counts.observe_longest_running, "s", "Age of the oldest task"),
        (semconv.CAPACITY, counts.observe_capacity, "{task}", "Tasks this worker can run at once"),
        (semconv.RESERVED, counts.observe_reserved, "{task}", "Messages held here, not running"),
        (semconv.SCHEDULED, counts.observe_scheduled, "{task}", "Messages held here, not due"),
        (semconv.QUEUE_CONSUMERS, counts.observe_consumers, "{consumer}", "Queues consumed here"),
    ):
        meter.create_observable_gauge(name, [observe], unit, description)


def _histogram(meter: Meter, name: str, description: str) -> Histogram:
    advice: dict[str, Any] = {"explicit_bucket_boundaries_advisory": semconv.DURATION_BUCKETS}
    return meter.create_histogram(name, "s", description, **advice)


def _optional(
    meter: Meter, name: str, chosen: frozenset[str], description: str
) -> Histogram | None:
    return _histogram(meter, name, description) if name in chosen else None


def _counter(meter: Meter, name: str, unit: str, description: str) -> Counter:
    return meter.create_counter(name, unit, description)
