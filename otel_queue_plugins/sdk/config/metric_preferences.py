"""The preferences of the metric exporter variables, as objects of the SDK."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    Counter,
    ExemplarFilter,
    Histogram,
    ObservableCounter,
    ObservableUpDownCounter,
    TraceBasedExemplarFilter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import (
    Aggregation,
    ExponentialBucketHistogramAggregation,
)

from otel_queue_plugins.sdk.config import profiles
from otel_queue_plugins.sdk.config.reader import Environment

if TYPE_CHECKING:
    from collections.abc import Mapping

_CUMULATIVE = AggregationTemporality.CUMULATIVE
_DELTA = AggregationTemporality.DELTA
_TEMPORALITY = {
    "cumulative": {},
    "delta": {Counter: _DELTA, Histogram: _DELTA, ObservableCounter: _DELTA},
    "lowmemory": {Counter: _DELTA, Histogram: _DELTA},
}


def temporality(environ: Mapping[str, str] = os.environ) -> dict[type, AggregationTemporality]:
    """The temporality of each kind of instrument; cumulative by default."""
    environment = Environment(environ)
    preference = environment.value("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE")
    preference = preference or profiles.default_temporality(environment)
    kinds = (Counter, UpDownCounter, Histogram, ObservableCounter, ObservableUpDownCounter)
    chosen = _TEMPORALITY.get(preference.lower(), {})
    return {kind: chosen.get(kind, _CUMULATIVE) for kind in kinds}


def aggregation(environ: Mapping[str, str] = os.environ) -> dict[type, Aggregation]:
    """The aggregation of histograms, if it is not the SDK's default: explicit buckets."""
    name = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
    if Environment(environ).value(name).lower() == "base2_exponential_bucket_histogram":
        return {Histogram: ExponentialBucketHistogramAggregation()}
    return {}


def exemplar_filter(environ: Mapping[str, str] = os.environ) -> ExemplarFilter:
    """The exemplar filter; by default measurements in a sampled span become exemplars."""
    filters: dict[str, type[ExemplarFilter]] = {
        "always_on": AlwaysOnExemplarFilter,
        "always_off": AlwaysOffExemplarFilter,
    }
    name = Environment(environ).value("OTEL_METRICS_EXEMPLAR_FILTER").lower()
    return filters.get(name, TraceBasedExemplarFilter)()
