"""Check the numbers and choices that the SDK itself will read from the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

    from otel_queue_plugins.sdk.config.reader import Environment

_BATCHES = {"traces": "OTEL_BSP", "logs": "OTEL_BLRP"}
_COUNTS = {
    "traces": (
        "OTEL_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "OTEL_SPAN_EVENT_COUNT_LIMIT",
        "OTEL_SPAN_LINK_COUNT_LIMIT",
        "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    ),
    "logs": (
        "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    ),
}
_INTERVALS = ("OTEL_METRIC_EXPORT_INTERVAL", "OTEL_METRIC_EXPORT_TIMEOUT")
_TEMPORALITY = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
_HISTOGRAMS = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
_QUEUE_SIZE = 2048


def check_numbers(environment: Environment, signals: Container[str]) -> None:
    """Check the variables of `signals`, which are those that would be set up."""
    for signal, names in _COUNTS.items():
        if signal in signals:
            for name in names:
                environment.number(name, signal)
            _check_batch(environment, signal, _BATCHES[signal])
    if "metrics" in signals:
        _check_metrics(environment)


def _check_batch(environment: Environment, signal: str, prefix: str) -> None:
    environment.number(f"{prefix}_SCHEDULE_DELAY", signal, at_least=1)
    environment.number(f"{prefix}_EXPORT_TIMEOUT", signal)
    queue = environment.number(f"{prefix}_MAX_QUEUE_SIZE", signal, at_least=1)
    batch = environment.number(f"{prefix}_MAX_EXPORT_BATCH_SIZE", signal, at_least=1)
    if batch is not None and batch > (queue or _QUEUE_SIZE):
        environment.reject(
            f"{prefix}_MAX_EXPORT_BATCH_SIZE",
            f"must not be above {prefix}_MAX_QUEUE_SIZE ({queue or _QUEUE_SIZE:g})",
            signal,
        )


def _check_metrics(environment: Environment) -> None:
    for name in _INTERVALS:
        environment.number(name, "metrics", at_least=1)
    environment.choice((_TEMPORALITY,), ("cumulative", "delta", "lowmemory"), "metrics")
    environment.choice(
        (_HISTOGRAMS,),
        ("explicit_bucket_histogram", "base2_exponential_bucket_histogram"),
        "metrics",
    )
    environment.choice(
        ("OTEL_METRICS_EXEMPLAR_FILTER",), ("trace_based", "always_on", "always_off"), "metrics"
    )
