"""Make the relay of a worker, in the process that its pool is forked from."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource

from otel_queue_plugins.core.metrics import observed
from otel_queue_plugins.sdk import fastpath
from otel_queue_plugins.sdk.config import metric_preferences, samplers
from otel_queue_plugins.sdk.export.dropped import QUEUE_FULL
from otel_queue_plugins.sdk.fastpath import encoding
from otel_queue_plugins.sdk.global_providers import OWN
from otel_queue_plugins.sdk.providers import factory
from otel_queue_plugins.sdk.relay import fields, measured, numbers, sending
from otel_queue_plugins.sdk.relay.collector import Collector
from otel_queue_plugins.sdk.relay.fields import Fields
from otel_queue_plugins.sdk.relay.metering import RelayMeterProvider
from otel_queue_plugins.sdk.relay.metrics_export import MetricsExport
from otel_queue_plugins.sdk.relay.pipe import Pipe
from otel_queue_plugins.sdk.relay.processors import LogRelay, SpanRelay
from otel_queue_plugins.sdk.relay.providing import (
    RelayLoggerProvider,
    RelayTracerProvider,
    WorkerMeterProvider,
)
from otel_queue_plugins.sdk.relay.relay import Relay
from otel_queue_plugins.sdk.relay.replay import Replay
from otel_queue_plugins.sdk.sampling.keeping import keeping

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from otel_queue_plugins.sdk.config.plan import Plan
    from otel_queue_plugins.sdk.export.dropped import Dropped

_PID: Final = "process.pid"
_TALLIES: Final = {
    kind: measured.Instrument(kind, ("", None, None, b""), "", "", "", None)
    for kind in (measured.SENT, measured.CONSUMED)
}


def make(plan: Plan, signals: Collection[str], resource: Resource, dropped: Dropped) -> Relay:
    """The relay for `signals`, whose providers are in `OWN` then. Raises what keeps it from it."""
    pipe = Pipe()
    relay = Relay(pipe, sending.most_spans(), sending.most_logs())
    relay.resource_of_child = partial(_resource_of_child, resource)
    relay.make_ordinary = _ordinary(plan)
    builders = {"traces": _traces, "metrics": _metrics, "logs": _logs}
    made = {signal: builders[signal](relay, plan, resource, dropped) for signal in signals}
    replay = None
    dropped.counts_all = "metrics" in signals and "traces" not in signals
    if relay.metrics is not None:
        replay = Replay(relay.metrics.provider, _counts(relay, made["metrics"]))
    lost = partial(dropped.add, QUEUE_FULL)
    relay.collector = Collector(pipe, relay.lanes["traces"], relay.lanes["logs"], replay, lost)
    OWN.update(made)
    return relay


def _traces(relay: Relay, plan: Plan, resource: Resource, dropped: Dropped) -> Any:
    relay.span_fields = Fields(encoding.span_encoder(), encode_spans)
    own = fields.resource_bytes(resource, encode_spans)
    targets = plan.exporters["traces"]
    relay.lanes["traces"] = [sending.span_lane(target, own, dropped) for target in targets]
    dropped.watch(relay.waiting)
    sampler = samplers.build(plan.sampler) if plan.sampler else None
    provider = RelayTracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(keeping(sampler, SpanRelay(relay)))
    # The trial of the fast path is done for all processes that are forked from this one.
    fastpath.spans(provider.get_tracer("otel_queue_plugins"))
    return provider


def _logs(relay: Relay, plan: Plan, resource: Resource, _dropped: Dropped) -> Any:
    relay.log_fields = Fields(encoding.log_encoder(), encode_logs)
    own = fields.resource_bytes(resource, encode_spans)
    relay.lanes["logs"] = [sending.log_lane(target, own) for target in plan.exporters["logs"]]
    provider = RelayLoggerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_log_record_processor(LogRelay(relay))
    return provider


def _metrics(relay: Relay, plan: Plan, resource: Resource, dropped: Dropped) -> Any:
    provider = WorkerMeterProvider(
        metric_readers=[sending.metric_reader(each, dropped) for each in plan.exporters["metrics"]],
        resource=resource,
        exemplar_filter=metric_preferences.exemplar_filter(),
        shutdown_on_exit=False,
    )
    if plan.is_served:
        numbers.keep(provider)
    relay.metrics = MetricsExport(provider, sending.metric_interval(), relay.settle)
    return RelayMeterProvider(relay)


def _ordinary(plan: Plan) -> Mapping[str, Any]:
    """For a process that was cut off."""

    def spans() -> Any:
        _describe_anew("traces")
        return factory.build("traces", plan)._active_span_processor  # noqa: SLF001

    def logs() -> Any:
        _describe_anew("logs")
        return factory.build("logs", plan)._multi_log_record_processor  # noqa: SLF001

    return {"traces": spans, "metrics": partial(factory.build, "metrics", plan), "logs": logs}


def _describe_anew(signal: str) -> None:
    """What begins from now on is that of this process, no longer that of the worker."""
    update = getattr(OWN.get(signal), "_update_resource", None)
    if callable(update):
        update(factory.resource())


def _counts(relay: Relay, provider: Any) -> observed.Counts:
    """What is counted in a child is counted where it is exported."""
    kept = observed.counts_of(provider, time.time_ns)
    kept.sent.count_remotely = partial(_count, relay, measured.SENT)
    kept.consumed.count_remotely = partial(_count, relay, measured.CONSUMED)
    kept.hand_over = relay.hand_over
    return kept


def _count(relay: Relay, kind: int, attributes: Any, span_id: int | None) -> bool:
    outbox = relay.outbox()
    if outbox is None:
        return False
    if span_id is not None:
        outbox.add_end(span_id)
    outbox.add((outbox.series.of_lasting(_TALLIES[kind], attributes), 1, None))
    return True


def _resource_of_child(resource: Resource) -> bytes | None:
    """Only where it says what differs. One `service.instance.id` is for the whole worker."""
    if _PID not in resource.attributes:
        return None
    return fields.resource_bytes(resource.merge(Resource({_PID: os.getpid()})), encode_spans)
