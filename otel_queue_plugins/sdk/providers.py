"""Build the SDK's providers from a plan and make them the global ones."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_queue_plugins.sdk import (
    flushing,
    identity,
    log_export,
    otlp_exporters,
    preferences,
    quiet,
    samplers,
)
from otel_queue_plugins.sdk.dropped import Dropped
from otel_queue_plugins.sdk.exporters import (
    CountingSpanProcessor,
    ProcessLogExporter,
    ProcessMetricExporter,
    ProcessSpanExporter,
)
from otel_queue_plugins.sdk.installed import offered
from otel_queue_plugins.sdk.otlp import Target

logger = logging.getLogger("otel_queue_plugins")

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_queue_plugins.sdk.environment import Plan


def install(plan: Plan) -> None:
    """Set a global provider for each signal of the plan; one that cannot be built stays off."""
    resource = _resource()
    dropped = Dropped()
    flushing.then(dropped.leave)
    quiet.hush(dropped.total)
    installers = {
        "metrics": partial(_install_metrics, plan, resource, dropped),
        "traces": partial(_install_traces, plan, resource, dropped),
        "logs": partial(_install_logs, plan, resource),
    }
    for signal, act in installers.items():
        if signal in plan.exporters:
            _try(signal, act)


def _try(signal: str, act: Callable[[], None]) -> None:
    try:
        act()
    except Exception:
        logger.exception("%s off: they could not be set up", signal)


def _resource() -> Resource:
    resource = Resource.create()
    given = identity.given_by_user(resource.attributes)
    if given is None or not identity.is_child():
        return resource
    return resource.merge(Resource({identity.KEY: identity.of_child(given)}))


def _install_traces(plan: Plan, resource: Resource, dropped: Dropped) -> None:
    sampler = samplers.build(plan.sampler) if plan.sampler else None
    provider = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
    for choice in plan.exporters["traces"]:
        make = _maker("traces", choice, otlp_exporters.span_exporter)
        exporter = ProcessSpanExporter(make, dropped)
        provider.add_span_processor(CountingSpanProcessor(exporter, dropped))
    trace.set_tracer_provider(provider)


def _install_metrics(plan: Plan, resource: Resource, dropped: Dropped) -> None:
    provider = MeterProvider(
        metric_readers=[_reader(choice, dropped) for choice in plan.exporters["metrics"]],
        resource=resource,
        exemplar_filter=preferences.exemplar_filter(),
        shutdown_on_exit=False,
    )
    metrics.set_meter_provider(provider)
    dropped.publish(provider.get_meter("otel_queue_plugins"))


def _reader(choice: Target | str, dropped: Dropped) -> MetricReader:
    """A pull exporter (`prometheus`) is itself a reader."""
    component = _component("metrics", choice) if isinstance(choice, str) else None
    if component is not None and issubclass(component, MetricReader):
        reader: MetricReader = component()
        return reader
    make = _maker("metrics", choice, otlp_exporters.metric_exporter)
    exporter: MetricExporter = ProcessMetricExporter(
        make, preferences.temporality(), preferences.aggregation(), dropped
    )
    return PeriodicExportingMetricReader(exporter)


def _install_logs(plan: Plan, resource: Resource) -> None:
    provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
    for choice in plan.exporters["logs"]:
        make = _maker("logs", choice, otlp_exporters.log_exporter)
        provider.add_log_record_processor(BatchLogRecordProcessor(ProcessLogExporter(make)))
    _logs.set_logger_provider(provider)
    log_export.export_logs()


def _maker(signal: str, choice: Target | str, make: Any) -> Any:
    if isinstance(choice, str):
        return _component(signal, choice)
    return partial(make, choice)


def _component(signal: str, name: str) -> Any:
    (point,) = tuple(offered(f"opentelemetry_{signal}_exporter", name=name))[:1]
    return point.load()
