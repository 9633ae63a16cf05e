"""Both adapters on an SDK and an API without private names that they have today.

`python -m tests.private_names` takes away one name after the other, each in a child of its own that
then imports and uses us, and prints what came out of it.
"""

from __future__ import annotations

# ruff: noqa: T201 - its output is what the test reads
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import TYPE_CHECKING, Any

import celery
import dramatiq
import opentelemetry
from celery.contrib.testing import worker as celery_worker
from dramatiq.brokers.stub import StubBroker
from opentelemetry import attributes, baggage, context, metrics, propagate, trace
from opentelemetry.sdk import _logs
from opentelemetry.sdk import metrics as sdk_metrics
from opentelemetry.sdk import trace as sdk_trace
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SECONDS = 30
_SPANS = 2
_KINDS = ("trace", "metric")
_left_running: list[Any] = []
_USED = (  # imported before anything is taken away
    *(baggage, propagate, metrics, _logs),
    *(import_module(f"opentelemetry.exporter.otlp.proto.http.{each}_exporter") for each in _KINDS),
)
_API, _SDK = "opentelemetry", "opentelemetry.sdk"
_MODULES = (
    f"{_API}._logs",
    f"{_API}._logs._internal",
    f"{_API}.attributes",
    f"{_API}.metrics._internal",
    f"{_API}.metrics._internal.instrument",
    f"{_API}.util._once",
    f"{_API}.util._importlib_metadata",
    f"{_SDK}._logs",
    f"{_SDK}._logs.export",
    f"{_SDK}._shared_internal",
    f"{_SDK}.metrics._internal._view_instrument_match",
    f"{_SDK}.metrics._internal.aggregation",
    f"{_SDK}.metrics._internal.instrument",
    f"{_SDK}.metrics._internal.measurement",
    f"{_SDK}.metrics._internal.measurement_consumer",
    f"{_SDK}.metrics._internal.metric_reader_storage",
    f"{_SDK}.version",
)
_NAMES = (
    (f"{_API}.attributes", "BoundedAttributes"),
    (f"{_API}.context", "_SUPPRESS_INSTRUMENTATION_KEY"),
    (f"{_API}.metrics._internal", "_METER_PROVIDER_SET_ONCE"),
    (f"{_API}.metrics._internal.instrument", "_ProxyHistogram"),
    (f"{_API}.trace", "ProxyTracer"),
    (f"{_API}.trace", "_TRACER_PROVIDER_SET_ONCE"),
    (f"{_API}.util._once", "Once"),
    (f"{_SDK}.trace.sampling", "StaticSampler"),
    (f"{_SDK}.version", "__version__"),
)


def hide_module(name: str) -> None:
    """Make a module impossible to import; names imported from it before stay."""
    import_module(name)
    sys.modules[name] = None  # type: ignore[assignment]
    parent, _, own = name.rpartition(".")
    vars(opentelemetry if parent == _API else import_module(parent)).pop(own, None)


def hide_name(module: str, name: str) -> None:
    """Delete a name of a module."""
    delattr(import_module(module), name)


def attributes_with_another_signature() -> None:
    """The class has another required argument."""

    class BoundedAttributes:
        def __init__(self, *, budget: int) -> None:
            self.budget = budget

    attributes.BoundedAttributes = BoundedAttributes  # type: ignore[assignment,misc]


def attributes_with_other_fields() -> None:
    """They are a plain dict, without a lock."""

    class BoundedAttributes(dict[str, Any]):
        def __init__(self, *_: object, **__: object) -> None:
            super().__init__()

    attributes.BoundedAttributes = BoundedAttributes  # type: ignore[assignment,misc]


def spans_kept_elsewhere() -> None:
    """A context keeps its span in a box, under another key."""

    def set_span(span: trace.Span, where: context.Context | None = None) -> context.Context:
        return context.set_value("box", [span], where)

    def get_span(where: context.Context | None = None) -> trace.Span:
        box: Any = context.get_value("box", where)
        return box[0] if box else trace.INVALID_SPAN

    for module in (trace, import_module(f"{_API}.trace.propagation")):
        module.set_span_in_context, module.get_current_span = set_span, get_span


CHANGES: dict[str, Callable[[], None]] = {
    "nothing": lambda: None,
    **{name: partial(hide_module, name) for name in _MODULES},
    **{f"{module}:{name}": partial(hide_name, module, name) for module, name in _NAMES},
    "attributes with another signature": attributes_with_another_signature,
    "attributes with other fields": attributes_with_other_fields,
    "spans kept elsewhere": spans_kept_elsewhere,
}


def do_nothing() -> None:
    """A task."""


def use_celery(**providers: Any) -> None:
    """Send a task and have a worker run it."""
    from otel_queue_plugins.celery import instrument

    app = celery.Celery("shop", broker="memory://")
    app.conf.broker_transport_options = {"polling_interval": 0.01}
    app.conf.task_default_queue = "add"
    task = app.task(do_nothing, name="add")
    instrument(app, **providers)
    worker = celery_worker.start_worker(app, pool="threads", perform_ping_check=False)
    worker.__enter__()
    _left_running.append(worker)  # it would need seconds to stop
    task.delay()


def use_dramatiq(**providers: Any) -> None:
    """Send a message and have a worker process it."""
    from otel_queue_plugins.dramatiq import instrument

    broker = StubBroker()
    instrument(broker, **providers)
    actor = dramatiq.actor(do_nothing, actor_name="add", broker=broker)
    worker = dramatiq.Worker(broker, worker_timeout=10, worker_threads=1)
    worker.start()
    actor.send()
    broker.join("default")
    worker.stop()


@contextmanager
def receiver() -> Iterator[set[str]]:
    """An OTLP receiver that the environment names; the paths that were posted to."""
    paths: set[str] = set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            paths.add(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
        yield paths
        server.shutdown()


def record() -> bool:
    """Something of the application itself, by what the environment asks for."""
    from otel_queue_plugins import ensure_providers, flush

    ensure_providers()
    trace.get_tracer("tests").start_span("work").end()
    metrics.get_meter("tests").create_counter("work").add(1)
    return flush()


def telemetry_of(use: Callable[..., None]) -> str:
    """The spans, whether they are one trace, and how many messages were counted."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = sdk_trace.TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    meters = sdk_metrics.MeterProvider([reader], shutdown_on_exit=False)
    use(tracer_provider=tracers, meter_provider=meters)
    deadline = time.monotonic() + _SECONDS / 2
    while len(exporter.get_finished_spans()) < _SPANS and time.monotonic() < deadline:
        time.sleep(0.01)
    spans = exporter.get_finished_spans()
    traces = {span.context.trace_id for span in spans if span.context}
    data: Any = reader.get_metrics_data()
    sent = [
        point.value
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == "messaging.client.sent.messages"
        for point in metric.data.data_points
    ]
    return f"{sorted(span.name for span in spans)} traces {len(traces)} sent {sent}"


def try_out(name: str) -> None:
    """Print the telemetry with one change; a traceback if there is none."""
    signal.alarm(_SECONDS)
    try:
        with receiver() as paths:
            CHANGES[name]()
            for use in (use_celery, use_dramatiq):
                print(f"{name} | {use.__name__} | {telemetry_of(use)}", flush=True)
            print(f"{name} | record | {record()} {sorted(paths)}", flush=True)
    except BaseException:  # noqa: BLE001 - the test shows it
        print(f"{name} | failed |", " // ".join(traceback.format_exc().splitlines()), flush=True)


def main() -> None:
    """One child for each change."""
    for name in CHANGES:
        pid = os.fork()
        if not pid:
            try_out(name)
            os._exit(0)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
