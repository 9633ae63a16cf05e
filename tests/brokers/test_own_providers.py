"""Providers of the application: set with `set_..._provider`, by a recipe, or asked for.

On Redis alone: whose providers are used does not depend on the broker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.brokers.moments import BEFORE, LOGS, RECORD, REDIS, run
from tests.brokers.telemetry_cases import CONSUMED, LATER, RESTING, SENT, in_log_of_ours

if TYPE_CHECKING:
    from tests.brokers.harness import Lab

pytestmark = REDIS
# A provider of the app's own for each signal: its resource says so.
OWN = {
    "traces": """
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
own = TracerProvider(resource=Resource.create({"service.name": "own"}))
own.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(own)
""",
    "metrics": """
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
own = MeterProvider(
    [PeriodicExportingMetricReader(OTLPMetricExporter())],
    resource=Resource.create({"service.name": "own"}),
)
metrics.set_meter_provider(own)
""",
    "logs": """
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
own = LoggerProvider(resource=Resource.create({"service.name": "own"}))
own.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
_logs.set_logger_provider(own)
""",
}


@pytest.mark.parametrize("place", ["before", "after", "after others recorded"])
@pytest.mark.parametrize("signal", OWN)
def test_provider_set_by_application_is_used_for_its_signal(
    signal: str, place: str, own_lab: Lab
) -> None:
    """From its first record, without a log line; other signals use the environment.

    It may be set before or after `instrument()`, also after the other signals have recorded.
    """
    others = "".join(text for name, text in RECORD.items() if name != signal)
    parts = {
        "before": (OWN[signal], "instrument_app()\n", others),
        "after": ("instrument_app()\n", OWN[signal], others),
        "after others recorded": ("instrument_app()\n", others, OWN[signal]),
    }
    run(own_lab, "celery", BEFORE, *parts[place], RECORD[signal], "send()\n", env=LOGS)
    services = {
        "traces": [span.service for span in own_lab.receiver.spans() if span.name == "job"],
        "metrics": [point.service for point in own_lab.receiver.latest_points("shop.orders")],
        "logs": [record.service for record in own_lab.receiver.logs()],
    }
    assert services == {each: ["own" if each == signal else "script"] for each in OWN}
    send = own_lab.receiver.expect_span("send work", timeout=30)
    assert send.service == services["traces"][0]
    (point,) = own_lab.receiver.latest_points(SENT)
    assert (point.value, point.service) == (1, services["metrics"][0])


def test_ensure_providers_builds_and_flush_exports_at_once(own_lab: Lab) -> None:
    """An application adds a processor to what `ensure_providers()` builds."""
    run(
        own_lab,
        "celery",
        BEFORE,
        """
import otel_queue_plugins
from opentelemetry.sdk.trace import SpanProcessor

class Names(SpanProcessor):
    def on_start(self, span, parent_context=None):
        span.set_attribute("added", "by hand")

instrument_app()
otel_queue_plugins.ensure_providers()
trace.get_tracer_provider().add_span_processor(Names())
tracer.start_span("job").end()
orders.add(1)
assert otel_queue_plugins.flush(timeout=30) is True
os._exit(0)
""",
    )
    (span,) = own_lab.receiver.spans()
    assert span.attributes["added"] == "by hand"
    assert own_lab.receiver.total("shop.orders") == 1


WORKER = """
from celery import Celery
from celery.signals import worker_process_init
from opentelemetry import trace
from otel_queue_plugins.celery import instrument
from tests.brokers.apps.gunicorn_recipe import post_fork
from tests.brokers.apps.settings import celery_settings

app = Celery("recipe")
app.conf.update(celery_settings())

def recipe(**_):
    post_fork(None, None)
{order}

@app.task(name="work")
def work(*_):
    with trace.get_tracer("shop").start_as_current_span("inside"):
        pass
"""
CONNECT, INSTRUMENT = "worker_process_init.connect(recipe, weak=False)\n", "instrument(app)\n"


@pytest.mark.parametrize("arguments", [(), ("--max-tasks-per-child=1",)], ids=["", "recycled"])
@pytest.mark.parametrize(
    "order", [CONNECT + INSTRUMENT, INSTRUMENT + CONNECT], ids=["recipe first", "recipe last"]
)
def test_recipe_in_worker_process_init_gets_all_spans_of_process(
    order: str, arguments: tuple[str, ...], own_lab: Lab
) -> None:
    """Its provider gets the spans to the last; metrics are those of the environment.

    The order of connection does not matter, and neither do processes that replace others.
    """
    app = own_lab.app(WORKER.format(order=order))
    worker = own_lab.celery(app, arguments=arguments, env=LATER)
    producer = own_lab.producer(app)
    sent = producer.run("for n in range(6): work.delay(n)")
    worker.wait_for_log("succeeded", count=6, timeout=40)
    producer.run(RESTING)
    assert worker.stop(timeout=40) == 0
    spans = own_lab.receiver.expect_trace(sent.trace_id, 18, timeout=30)
    by_service = {(span.name, span.service) for span in spans}
    assert by_service == {
        ("send work", "web"),
        ("process work", "recipe"),
        ("inside", "recipe"),
    }
    pids = {span.attributes["process.pid"] for span in spans if span.kind == "consumer"}
    assert len(pids) == 6 if arguments else len(pids) <= 2
    own_lab.receiver.expect_total(CONSUMED, 6, timeout=30, taskqueue__task__outcome="success")
    assert in_log_of_ours(worker.log) == []
