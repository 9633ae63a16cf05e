"""Numbers that the SDK reads from the environment by itself, checked before it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

    from otel_queue_plugins.sdk.config.environment import Reading

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


def check_numbers(reading: Reading, signals: Container[str]) -> None:
    """Check what concerns `signals` (the ones that would be set up)."""
    for signal, names in _COUNTS.items():
        if signal in signals:
            for name in names:
                reading.number(name, signal)
            _check_batch(reading, signal, _BATCHES[signal])
    if "metrics" in signals:
        _check_metrics(reading)


def _check_batch(reading: Reading, signal: str, prefix: str) -> None:
    reading.number(f"{prefix}_SCHEDULE_DELAY", signal, at_least=1)
    reading.number(f"{prefix}_EXPORT_TIMEOUT", signal)
    queue = reading.number(f"{prefix}_MAX_QUEUE_SIZE", signal, at_least=1)
    batch = reading.number(f"{prefix}_MAX_EXPORT_BATCH_SIZE", signal, at_least=1)
    if batch is not None and batch > (queue or _QUEUE_SIZE):
        reading.reject(
            f"{prefix}_MAX_EXPORT_BATCH_SIZE",
            f"must not be above {prefix}_MAX_QUEUE_SIZE ({queue or _QUEUE_SIZE:g})",
            signal,
        )


def _check_metrics(reading: Reading) -> None:
    for name in _INTERVALS:
        reading.number(name, "metrics", at_least=1)
    reading.choice((_TEMPORALITY,), ("cumulative", "delta", "lowmemory"), "metrics")
    reading.choice(
        (_HISTOGRAMS,),
        ("explicit_bucket_histogram", "base2_exponential_bucket_histogram"),
        "metrics",
    )
    reading.choice(
        ("OTEL_METRICS_EXEMPLAR_FILTER",), ("trace_based", "always_on", "always_off"), "metrics"
    )
