"""Build the SDK's providers from a plan, and set them as the global ones."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_queue_plugins.sdk import instance_id
from otel_queue_plugins.sdk.config import metric_preferences, samplers
from otel_queue_plugins.sdk.config.installed import entry_points_of
from otel_queue_plugins.sdk.config.targets import Target
from otel_queue_plugins.sdk.diagnosis import export_failures
from otel_queue_plugins.sdk.export import otlp_exporters
from otel_queue_plugins.sdk.export.dropped import Dropped
from otel_queue_plugins.sdk.export.exporters import (
    CountingSpanProcessor,
    ProcessMetricExporter,
    ProcessSpanExporter,
)
from otel_queue_plugins.sdk.global_providers import OWN, set_global
from otel_queue_plugins.sdk.process import flushing
from otel_queue_plugins.sdk.providers import declared
from otel_queue_plugins.sdk.relay import numbers
from otel_queue_plugins.sdk.sampling.keeping import keeping

if TYPE_CHECKING:
    from otel_queue_plugins.sdk.config.plan import Plan


@cache
def dropped() -> Dropped:
    """The counter of dropped spans, one for a process and all that it forks."""
    made = Dropped()
    flushing.call_after_flush(made.leave)
    flushing.call_after_flush(export_failures.install_filter(made.total).after_flush)
    made.publish(metrics.get_meter("otel_queue_plugins"))
    return made


def install(signal: str, plan: Plan) -> Dropped:
    """Build a provider of `signal` and set it as the global one. Returns the dropped spans.

    Raises whatever prevents it from being built.
    """
    if plan.declared is not None and plan.exporters[signal]:
        OWN[signal] = declared.install(signal, plan.declared)
        if signal == "metrics" and plan.is_served:
            numbers.keep(OWN[signal])
        return dropped()
    OWN[signal] = build(signal, plan)
    set_global(signal, OWN[signal])
    return dropped()


def build(signal: str, plan: Plan) -> Any:
    """Build a provider that exports from this process. Raises whatever prevents it."""
    builders = {"traces": _traces, "metrics": _metrics, "logs": _logs}
    return builders[signal](plan, resource(), dropped())


def resource() -> Resource:
    """The resource of this process; a child gets an instance id of its own."""
    made = Resource.create()
    given = instance_id.given_by_user(made.attributes)
    if given is None or not instance_id.is_child():
        return made
    return made.merge(Resource({instance_id.KEY: instance_id.of_child(given)}))


def _traces(plan: Plan, resource: Resource, dropped: Dropped) -> TracerProvider:
    sampler = samplers.build(plan.sampler) if plan.sampler else None
    provider = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
    for choice in plan.exporters["traces"]:
        make = _exporter_maker("traces", choice, otlp_exporters.span_exporter)
        exporter = ProcessSpanExporter(make, dropped)
        provider.add_span_processor(keeping(sampler, CountingSpanProcessor(exporter, dropped)))
    return provider


def _metrics(plan: Plan, resource: Resource, dropped: Dropped) -> MeterProvider:
    provider = MeterProvider(
        metric_readers=[_reader(choice, dropped) for choice in plan.exporters["metrics"]],
        resource=resource,
        exemplar_filter=metric_preferences.exemplar_filter(),
        shutdown_on_exit=False,
    )
    if plan.is_served:
        numbers.keep(provider)
    return provider


def _reader(choice: Target | str, dropped: Dropped) -> MetricReader:
    """The reader for an exporter; an exporter that is scraped (`prometheus`) is one itself."""
    found = component("metrics", choice) if isinstance(choice, str) else None
    if found is not None and issubclass(found, MetricReader):
        reader: MetricReader = found()
        return reader
    make = _exporter_maker("metrics", choice, otlp_exporters.metric_exporter)
    exporter: MetricExporter = ProcessMetricExporter(
        make, metric_preferences.temporality(), metric_preferences.aggregation(), dropped
    )
    return PeriodicExportingMetricReader(exporter)


def _logs(plan: Plan, resource: Resource, _dropped: Dropped) -> Any:
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    from otel_queue_plugins.sdk.logs.log_exporter import ProcessLogExporter

    provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
    for choice in plan.exporters["logs"]:
        make = _exporter_maker("logs", choice, otlp_exporters.log_exporter)
        provider.add_log_record_processor(BatchLogRecordProcessor(ProcessLogExporter(make)))
    return provider


def _exporter_maker(signal: str, choice: Target | str, make: Any) -> Any:
    if isinstance(choice, str):
        return component(signal, choice)
    return partial(make, choice)


def component(signal: str, name: str) -> Any:
    """The class of an installed exporter, by the name that `OTEL_{SIGNAL}_EXPORTER` has for it."""
    (point,) = tuple(entry_points_of(f"opentelemetry_{signal}_exporter", name=name))[:1]
    return point.load()
