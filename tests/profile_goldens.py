"""What both frameworks send with each profile, as files to look at: `tests/golden/PROFILE.json`.

`python -m tests.profile_goldens` writes them anew; a test compares them. The file of no profile is
`none.json`. What differs from run to run (ids, times, pids, versions) is not in them.
"""

from __future__ import annotations

import json
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import dramatiq
from celery import Celery
from dramatiq.brokers.stub import StubBroker
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_queue_plugins import celery as for_celery
from otel_queue_plugins import dramatiq as for_dramatiq
from otel_queue_plugins.cli.store import TelemetryStore
from otel_queue_plugins.core.profiles import PROFILES
from otel_queue_plugins.sdk.config.metric_preferences import temporality
from tests.environment import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from otel_queue_plugins.cli.received import ReceivedPoint, ReceivedSpan

NAMES: Final = ("none", *PROFILES)
_DIRECTORY: Final = ROOT / "tests" / "golden"
# Celery 5.3 has none where a task is run by its caller.
_LEFT_OUT: Final = ("messaging.message.conversation_id",)
# How long something took, which machine and process it was, and ids.
_CHANGING: Final = (
    *("messaging.message.id", "process.pid", "taskqueue.task.scheduled_delay"),
    *("taskqueue.task.wait", "taskqueue.task.prefetch_wait", "taskqueue.retry.delay"),
    *("taskqueue.worker.name", "exception.stacktrace", "messaging.message.receive.latency"),
    *("service.instance.id", "telemetry.sdk.version"),
)


def path(name: str) -> Path:
    """The file of a profile."""
    return _DIRECTORY / f"{name}.json"


def generated(name: str) -> str:
    """What the file of a profile has to be now."""
    profile = {} if name == "none" else {"OTEL_QUEUE_PROFILE": name}
    with mock.patch.dict(os.environ, profile):
        return json.dumps(_sent(), indent=1, ensure_ascii=False) + "\n"


def _sent() -> dict[str, Any]:
    """Spans and metrics of a message that succeeds, and one that fails at both attempts."""
    exporter = InMemorySpanExporter()
    reader = InMemoryMetricReader(preferred_temporality=temporality())
    resource = Resource.create({"service.name": "shop"})
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    providers = {"tracer_provider": tracers, "meter_provider": meters}
    _run_celery(providers)
    _run_dramatiq(providers)
    store = TelemetryStore()
    store.add(encode_spans(sorted(exporter.get_finished_spans(), key=lambda it: it.start_time)))
    store.add(encode_metrics(reader.get_metrics_data()))
    tracers.shutdown()
    meters.shutdown()
    return {
        "resource": _stable(store.spans()[0].resource),
        "spans": _spans(store.spans()),
        "metrics": _metrics(store.points()),
    }


def _run_celery(providers: dict[str, Any]) -> None:
    """Sends to a broker in memory, and deliveries that are run here: no worker has to start."""
    app = Celery("shop", set_as_current=False)
    app.conf.update(broker_url="memory://", task_default_queue="celery-queue")
    for_celery.instrument(app, **providers)

    @app.task(shared=False, name="shop.ship")
    def ship() -> None: ...

    @app.task(shared=False, name="shop.pay", bind=True, max_retries=1)
    def pay(self: Any) -> None:
        raise self.retry(exc=ValueError("no money"), countdown=0)

    try:
        for task in (ship, pay):
            task.delay()
            task.apply()
    finally:
        for_celery.uninstrument()


def _run_dramatiq(providers: dict[str, Any]) -> None:
    """A worker in a thread, which is stopped when no message is left."""
    broker = StubBroker()
    for_dramatiq.instrument(broker, **providers)
    options: dict[str, Any] = {"broker": broker, "queue_name": "dramatiq-queue"}

    def ship() -> None: ...

    def pay() -> None:
        raise ValueError("no money")

    retries = {"max_retries": 1, "min_backoff": 1, "max_backoff": 1}
    actors = (
        dramatiq.actor(ship, actor_name="shop.ship", **options),
        dramatiq.actor(pay, actor_name="shop.pay", **retries, **options),
    )
    worker = dramatiq.Worker(broker, worker_timeout=20, worker_threads=1)
    worker.start()
    for actor in actors:
        actor.send()
        broker.join("dramatiq-queue", timeout=30_000, fail_fast=False)
        worker.join()
    worker.stop()
    for_dramatiq.uninstrument(broker)


def _spans(spans: list[ReceivedSpan]) -> list[dict[str, Any]]:
    numbers = {span.span_id: number for number, span in enumerate(spans)}
    return [
        {
            "number": numbers[span.span_id],
            "parent": numbers.get(span.parent_id),
            "links": [numbers[link.span_id] for link in span.links],
            "name": span.name,
            "kind": span.kind,
            "status": span.status,
            "attributes": _stable(span.attributes),
            "events": [
                {"name": event.name, "attributes": _stable(event.attributes)}
                for event in span.events
            ],
        }
        for span in spans
    ]


def _metrics(points: list[ReceivedPoint]) -> list[dict[str, Any]]:
    """Gauges are left out: they show a moment."""
    found: dict[str, dict[str, Any]] = {}
    for point in points:
        if point.kind != "gauge":
            facts = {"name": point.name, "kind": point.kind, "temporality": point.temporality}
            metric = found.setdefault(point.name, {**facts, "unit": point.unit, "points": []})
            metric["points"].append(
                {
                    "attributes": _stable(point.attributes),
                    "count": point.histogram.count if point.histogram else point.value,
                }
            )
    for metric in found.values():
        metric["points"].sort(key=lambda each: json.dumps(each, sort_keys=True))
    return [found[name] for name in sorted(found)]


def _stable(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: type(value).__name__ if name in _CHANGING else value
        for name, value in sorted(attributes.items())
        if name not in _LEFT_OUT
    }


if __name__ == "__main__":
    # Not the functions here: the module's name is in the telemetry.
    anew = import_module("tests.profile_goldens")
    for each in NAMES:
        path(each).write_text(anew.generated(each))
