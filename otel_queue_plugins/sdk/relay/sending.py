"""What leaves a worker: the official exporters, given what is encoded already, and their queues."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from otel_queue_plugins.sdk.config import metric_preferences
from otel_queue_plugins.sdk.config.reader import Environment
from otel_queue_plugins.sdk.export import exported, otlp_exporters
from otel_queue_plugins.sdk.export.exporters import ProcessMetricExporter
from otel_queue_plugins.sdk.relay import fields
from otel_queue_plugins.sdk.relay.lanes import Lane
from otel_queue_plugins.sdk.relay.metrics_export import AskedReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_queue_plugins.sdk.export.dropped import Dropped

_SUCCESS: Final = "SUCCESS"
_BSP, _BLRP = "OTEL_BSP", "OTEL_BLRP"
_MOST, _BATCH = 2048, 512
_INTERVAL_MS: Final = 60_000
_DELAY_MS: Final = {_BSP: 5000, _BLRP: 1000}


def number(name: str, default: int) -> int:
    """A setting that was checked before (`limits`)."""
    return int(Environment(os.environ).value(name) or default)


def most_spans() -> int:
    """That may wait."""
    return number(f"{_BSP}_MAX_QUEUE_SIZE", _MOST)


def most_logs() -> int:
    """That may wait."""
    return number(f"{_BLRP}_MAX_QUEUE_SIZE", _MOST)


def metric_interval() -> float:
    """Seconds."""
    return number("OTEL_METRIC_EXPORT_INTERVAL", _INTERVAL_MS) / 1000


def span_lane(target: Any, resource: bytes, dropped: Dropped) -> Lane:
    """For spans to `target`. Raises what keeps its exporter from being made."""
    exporter: Any = otlp_exporters.span_exporter(target, _Joined(encode_spans))
    return _lane(exporter, resource, _BSP, dropped.add, exported.add)


def log_lane(target: Any, resource: bytes) -> Lane:
    """For log records to `target`. Raises what keeps its exporter from being made."""
    exporter: Any = otlp_exporters.log_exporter(target, _Joined(encode_logs))
    return _lane(exporter, resource, _BLRP, _not_counted, _time_of_success)


def metric_reader(target: Any, dropped: Dropped) -> AskedReader:
    """For metrics to `target`. Raises what keeps its exporter from being made."""
    temporality, aggregation = metric_preferences.temporality(), metric_preferences.aggregation()
    make = partial(otlp_exporters.metric_exporter, target)
    exporter = ProcessMetricExporter(make, temporality, aggregation, dropped)
    return AskedReader(exporter, temporality, aggregation)


def _lane(
    exporter: Any,
    resource: bytes,
    prefix: str,
    lost: Callable[[str, int], None],
    arrived: Callable[[int], None],
) -> Lane:
    def export(batch: list[Any]) -> bool:
        if exporter.export(batch).name != _SUCCESS:
            return False
        arrived(len(batch))
        return True

    return Lane(
        exporter,
        export,
        resource,
        batch=number(f"{prefix}_MAX_EXPORT_BATCH_SIZE", _BATCH),
        delay=number(f"{prefix}_SCHEDULE_DELAY", _DELAY_MS[prefix]) / 1000,
        most=number(f"{prefix}_MAX_QUEUE_SIZE", _MOST),
        lost=lost,
    )


def _time_of_success(_records: int) -> None:
    exported.add(0)


def _not_counted(_reason: str, _number_of: int) -> None:
    """Log records are not, in other processes either."""


class _Joined:
    """What an exporter uses instead of an encoder."""

    def __init__(self, official: Any) -> None:
        self.signal = self
        self.official = official
        self.request = fields.request
