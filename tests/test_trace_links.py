"""URLs of traces: from the setting, from the OTLP endpoint, for a message, for a task."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import dramatiq
import pytest
from celery import Celery
from dramatiq.brokers.stub import StubBroker

from otel_queue_plugins import trace_url, trace_url_of_task
from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.core.settings.trace_templates import BACKENDS, TraceUrl
from otel_queue_plugins.sdk.config import trace_urls

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SETTING = "OTEL_QUEUE_TRACE_URL"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
BASES = {
    "jaeger": ("http://localhost:16686", f"http://localhost:16686/trace/{TRACE_ID}"),
    "zipkin": ("http://localhost:9411/", f"http://localhost:9411/zipkin/traces/{TRACE_ID}"),
    "datadog": ("https://app.datadoghq.eu", f"https://app.datadoghq.eu/apm/trace/{TRACE_ID}"),
    "honeycomb": (
        "https://ui.honeycomb.io/t/environments/e/datasets/d",
        (
            f"https://ui.honeycomb.io/t/environments/e/datasets/d/trace?trace_id={TRACE_ID}"
            f"&span={SPAN_ID}&trace_start_ts=1000&trace_end_ts=2001"
        ),
    ),
    "newrelic": (
        "https://one.newrelic.com",
        f"https://one.newrelic.com/distributed-tracing?query=trace.id%3D{TRACE_ID}",
    ),
    "xray": (
        "eu-west-1",
        (
            "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1"
            "#xray:traces/1-4bf92f35-77b34da6a3ce929d0e0e4736"
        ),
    ),
    "gcp": (
        "my-shop",
        f"https://console.cloud.google.com/traces/explorer;traceId={TRACE_ID}?project=my-shop",
    ),
    "sentry": (
        "https://shop.sentry.io",
        f"https://shop.sentry.io/explore/traces/trace/{TRACE_ID}/",
    ),
}


def url_of(setting: str, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """The URL of one trace from 1000 to 2000 s."""
    monkeypatch.setenv(SETTING, setting)
    return trace_url(TRACE_ID, span_id=SPAN_ID, start=1000.9, end=2000)


@pytest.mark.parametrize("backend", sorted(BASES))
def test_backend_by_name_needs_only_its_base(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the URL is ours."""
    base, expected = BASES[backend]
    assert url_of(f"{backend}:{base}", monkeypatch) == expected


def test_tempo_is_a_query_of_grafana(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the time in milliseconds, for Grafana searches no more than that."""
    url = url_of("tempo:https://grafana/", monkeypatch)
    assert url is not None
    parts = urlsplit(url)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == "https://grafana/explore"
    (pane,) = json.loads(parse_qs(parts.query)["panes"][0]).values()
    assert pane["queries"][0]["query"] == TRACE_ID
    assert pane["range"] == {"from": "1000000", "to": "2001000"}


def test_every_backend_is_tried_here() -> None:
    """None is without a test."""
    assert set(BACKENDS) == {*BASES, "tempo"}


def test_template_is_filled_with_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values are quoted; other braces stay."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "web & shop")
    template = "https://t/{trace_id}/{span_id}?s={service}&from={start_s}&to={end_s}&x={other}"
    assert url_of(template, monkeypatch) == (
        f"https://t/{TRACE_ID}/{SPAN_ID}?s=web%20%26%20shop&from=1000&to=2001&x={{other}}"
    )


def test_service_is_that_of_the_resource_if_it_has_no_variable_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As for the SDK; without any it is unknown_service."""
    template = "https://t/{trace_id}?{service}"
    assert url_of(template, monkeypatch) == f"https://t/{TRACE_ID}?unknown_service"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "a=b,service.name=shop%20x")
    assert url_of(template, monkeypatch) == f"https://t/{TRACE_ID}?shop%20x"


def test_times_that_are_not_given_are_the_last_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backends that search by time find what is recent."""
    monkeypatch.setattr(trace_urls.time, "time", lambda: 100_000.5)
    monkeypatch.setenv(SETTING, "https://t/{trace_id}?{start_s}-{end_s}-{span_id}")
    assert trace_url(TRACE_ID) == f"https://t/{TRACE_ID}?13600-100001-"


@pytest.mark.parametrize(
    ("given", "shown"), [(0xABC, f"{0xABC:032x}"), ("abc", f"{0xABC:032x}"), (TRACE_ID, TRACE_ID)]
)
def test_trace_id_may_be_a_number(
    given: str | int, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As OpenTelemetry has it, or in hexadecimal."""
    monkeypatch.setenv(SETTING, "https://t/{trace_id}")
    assert trace_url(given) == f"https://t/{shown}"


@pytest.mark.parametrize(
    "text",
    [
        *("jaeger", "jaeger:", "jaeger:localhost", "loki:http://x", "http://x/trace"),
        *("ftp://x/{trace_id}", "{trace_id}", "xray:https://x", "gcp:a b", "http://[x/{trace_id}"),
    ],
)
def test_wrong_setting_is_logged_once_and_gives_no_url(
    text: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With what is allowed."""
    assert url_of(text, monkeypatch) is None
    assert url_of(text, monkeypatch) is None
    (record,) = caplog.records
    assert record.getMessage().startswith(SETTING)
    assert "{trace_id}" in record.getMessage()


def test_kind_says_the_backends() -> None:
    """In the reference, and in errors."""
    with pytest.raises(ValueError, match="jaeger:BASE"):
        TraceUrl().check(5)


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("https://otlp.datadoghq.com", "https://app.datadoghq.com/apm/trace/"),
        ("https://otlp.us5.datadoghq.com", "https://us5.datadoghq.com/apm/trace/"),
        ("https://otlp.nr-data.net:4318", "https://one.newrelic.com/distributed-tracing?"),
        ("https://otlp.eu01.nr-data.net", "https://one.eu.newrelic.com/distributed-tracing?"),
        ("https://xray.eu-west-1.amazonaws.com", "https://eu-west-1.console.aws.amazon.com/"),
        ("https://telemetry.googleapis.com", "https://console.cloud.google.com/traces/"),
        ("http://localhost:4318", None),
        ("http://collector:4317", None),
        ("https://api.honeycomb.io", None),
        ("http://[x", None),
    ],
)
def test_url_is_derived_from_the_endpoint_of_a_vendor(
    endpoint: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collector does not say where its traces are shown."""
    monkeypatch.setenv(ENDPOINT, endpoint)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "gcp.project_id=shop")
    url = trace_url(TRACE_ID)
    assert url is None if expected is None else url is not None and url.startswith(expected)


def test_project_of_google_has_to_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a resource attribute."""
    monkeypatch.setenv(ENDPOINT, "https://telemetry.googleapis.com")
    assert trace_url(TRACE_ID) is None


def test_without_setting_and_endpoint_there_is_no_url() -> None:
    """None, not an error."""
    assert trace_url(TRACE_ID) is None


TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """An app whose queue is in this process."""
    monkeypatch.setenv(SETTING, "https://t/{trace_id}?{span_id}")
    app = Celery("memory", broker="memory://", set_as_current=False)
    app.conf.task_default_queue = "links"
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        type(channel).queues.clear()
        yield app
        type(channel).queues.clear()


def test_url_of_a_task_of_celery_that_waits(app: Celery) -> None:
    """By its whole id; one that no queue has is None."""
    sent = app.send_task("add", headers={"traceparent": TRACEPARENT}).id
    assert trace_url_of_task(sent, app) == f"https://t/{TRACE_ID}?{SPAN_ID}"
    assert trace_url_of_task(sent[:8], app) is None
    assert trace_url_of_task("no-such-id", app) is None
    assert trace_url_of_task(app.send_task("add").id, app) is None


def test_url_of_a_message_of_dramatiq_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The carrier is an option of the message."""
    monkeypatch.setenv(SETTING, "https://t/{trace_id}")
    broker = StubBroker()
    act = dramatiq.actor(lambda: None, actor_name="act", broker=broker)
    sent = act.send_with_options(otel={"traceparent": TRACEPARENT})
    assert trace_url_of_task(sent.message_id, broker) == f"https://t/{TRACE_ID}"


@pytest.mark.parametrize("error", [BrokerError("redis://h: gone"), TimeoutError("in 5 s")])
def test_broker_that_does_not_answer_is_logged(
    app: Celery,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    """A page that shows the link goes on without."""

    def names(_self: QueueReader, **_options: Any) -> None:
        raise error

    monkeypatch.setattr(QueueReader, "names", names)
    assert trace_url_of_task("t1", app) is None
    assert "the trace of task t1 was not looked up" in caplog.text
