"""`otel-queue show --view`: traces out of Jaeger and Tempo, in every form their APIs have."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_queue_plugins.cli import backends
from otel_queue_plugins.cli.backends import BackendError, fetch_trace
from otel_queue_plugins.cli.otlp import read_spans
from tests.cli.queue_commands import TRACE_ID, Command, fill_celery
from tests.services import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ID: Final = f"{TRACE_ID:032x}"
PROTOBUF, JSON = "application/protobuf", "application/json"
JAEGER: Final = {
    "data": [
        {
            "traceID": ID,
            "spans": [
                {
                    "traceID": ID,
                    "spanID": "00f067aa0ba902b7",
                    "operationName": "send charge",
                    "references": [],
                    "startTime": 1_700_000_000_000_000,
                    "duration": 1500,
                    "tags": [{"key": "span.kind", "type": "string", "value": "producer"}],
                    "logs": [],
                    "processID": "p1",
                    "warnings": None,
                },
                {
                    "traceID": ID[16:],  # Jaeger leaves leading zeros out
                    "spanID": "b9c7c989f97918e1",
                    "operationName": "process charge",
                    "references": [
                        {"refType": "CHILD_OF", "traceID": ID, "spanID": "00f067aa0ba902b7"},
                        {"refType": "FOLLOWS_FROM", "traceID": "1" * 32, "spanID": "2" * 16},
                    ],
                    "startTime": 1_700_000_000_500_000,
                    "duration": 2_000_000,
                    "tags": [
                        {"key": "span.kind", "type": "string", "value": "consumer"},
                        {"key": "otel.status_code", "type": "string", "value": "ERROR"},
                        {"key": "otel.status_description", "type": "string", "value": "no card"},
                        {"key": "error", "type": "bool", "value": True},
                        {"key": "otel.scope.name", "type": "string", "value": "plugins"},
                        {"key": "taskqueue.task.attempt", "type": "int64", "value": "2"},
                        {"key": "taskqueue.task.wait", "type": "float64", "value": 0.25},
                    ],
                    "logs": [
                        {
                            "timestamp": 1_700_000_001_000_000,
                            "fields": [
                                {"key": "event", "type": "string", "value": "exception"},
                                {"key": "exception.type", "type": "string", "value": "CardError"},
                            ],
                        }
                    ],
                    "processID": "p2",
                },
            ],
            "processes": {
                "p1": {"serviceName": "web", "tags": []},
                "p2": {
                    "serviceName": "worker",
                    "tags": [{"key": "process.pid", "type": "int64", "value": 7}],
                },
            },
        }
    ],
    "errors": None,
}


class Backend:
    """An HTTP server with one answer, and the requests it had."""

    def __init__(self) -> None:
        self.status, self.kind, self.body = 200, JSON, b""
        self.requests: list[tuple[str, dict[str, str]]] = []
        backend = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                backend.requests.append((self.path, dict(self.headers)))
                self.send_response(backend.status)
                self.send_header("Content-Type", backend.kind)
                self.end_headers()
                self.wfile.write(backend.body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answers(self, body: Any, kind: str = JSON, status: int = 200) -> None:
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.kind, self.status = kind, status


@pytest.fixture
def backend() -> Iterator[Backend]:
    """One that runs."""
    found = Backend()
    thread = threading.Thread(target=found.server.serve_forever, args=(0.02,))
    thread.start()
    yield found
    found.server.shutdown()
    thread.join(60)
    found.server.server_close()


def test_jaeger_says_what_otlp_said(backend: Backend) -> None:
    """Parent, link, status, kind, attributes with their types, events, resource."""
    backend.answers(JAEGER)
    send, process = fetch_trace(backend.url, ID, 30)
    assert (send.service, send.kind, send.status, send.parent_id) == (
        "web",
        "producer",
        "unset",
        "",
    )
    assert (process.trace_id, process.parent_id) == (ID, send.span_id)
    assert [(each.trace_id, each.span_id) for each in process.links] == [("1" * 32, "2" * 16)]
    assert (process.status, process.status_description) == ("error", "no card")
    assert process.attributes == {"taskqueue.task.attempt": 2, "taskqueue.task.wait": 0.25}
    assert process.resource == {"service.name": "worker", "process.pid": 7}
    assert process.scope_name == "plugins"
    assert process.duration_s == 2
    (event,) = process.events
    assert (event.name, event.attributes) == ("exception", {"exception.type": "CardError"})
    assert backend.requests[0][0] == f"/api/traces/{ID}"


SPANS = st.lists(
    st.tuples(
        st.binary(min_size=16, max_size=16),
        st.binary(min_size=8, max_size=8),
        st.text(max_size=20),
        st.integers(0, 2**63),
        st.sampled_from([0, 1, 5]),
        st.sampled_from([0, 1, 2]),
    ),
    max_size=4,
)


@given(SPANS)
def test_tempo_says_what_otlp_said(rows: list[tuple[Any, ...]]) -> None:
    """In its JSON, ids are in base64; in that of others with its API, in hexadecimal."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for trace_id, span_id, name, start, kind, code in rows:
        span = scope.spans.add(
            trace_id=trace_id, span_id=span_id, name=name, start_time_unix_nano=start, kind=kind
        )
        span.status.code = code
    groups = MessageToDict(request)["resourceSpans"]
    wanted = list(read_spans(request))
    assert backends._from_json(json.dumps({"batches": groups}).encode()) == wanted
    for group in groups:
        for span in (each for scoped in group["scopeSpans"] for each in scoped.get("spans", ())):
            for name in ("traceId", "spanId"):
                span[name] = base64.b64decode(span[name]).hex()
    assert backends._from_json(json.dumps({"batches": groups}).encode()) == wanted


def test_protobuf_of_tempo_is_taken(backend: Backend) -> None:
    """It is asked for."""
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(name="job", trace_id=b"x" * 16)
    backend.answers(request.SerializeToString(), PROTOBUF)
    (span,) = fetch_trace(f"{backend.url}/tempo/", ID, 30)
    assert span.name == "job"
    path, headers = backend.requests[0]
    assert path == f"/tempo/api/traces/{ID}"
    assert headers["Accept"] == PROTOBUF


def test_user_and_password_are_sent_and_not_shown(backend: Backend) -> None:
    """As basic authentication."""
    backend.answers(b"who are you", "text/plain", 401)
    url = backend.url.replace("http://", "http://me:s%40cret@")
    with pytest.raises(BackendError) as refused:
        fetch_trace(url, ID, 30)
    assert "401" in str(refused.value)
    assert "who are you" in str(refused.value)
    assert "s%40cret" not in str(refused.value)
    wanted = base64.b64encode(b"me:s@cret").decode()
    assert backend.requests[0][1]["Authorization"] == f"Basic {wanted}"


@pytest.mark.parametrize(
    "body",
    [b"", json.dumps({"data": None, "errors": [{"code": 404, "msg": "trace not found"}]}).encode()],
)
def test_trace_that_is_not_there_has_no_spans(backend: Backend, body: bytes) -> None:
    """Tempo and Jaeger answer 404."""
    backend.answers(body, status=404)
    assert fetch_trace(backend.url, ID, 30) == []


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"<html>404 page not found</html>", "text/html", 404),
        (b"<html></html>", "text/html", 200),
        (b"[]", JSON, 200),
        (b"{}", JSON, 200),
        (b"[" * 9999, JSON, 200),
        (b'{"data": [{"spans": [{}], "processes": {}}]}', JSON, 200),
        (b'{"data": 5}', JSON, 200),
        (b'{"batches": [{"scopeSpans": [{"spans": [{"kind": 77}]}]}]}', JSON, 200),
        (b'{"batches": [{"scopeSpans": 3}]}', JSON, 200),
        (b"\xff", PROTOBUF, 200),
        (b"upstream down", "text/plain", 502),
    ],
)
def test_other_answers_are_one_line(backend: Backend, body: bytes, kind: str, status: int) -> None:
    """It names the backend, and never is another error."""
    backend.answers(body, kind, status)
    with pytest.raises(BackendError, match=backend.url) as refused:
        fetch_trace(backend.url, ID, 30)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "ftp://x", "http://", "http://a:b"])
def test_url_without_a_backend_is_one_line(url: str) -> None:
    """Nobody listens, or it is none."""
    with pytest.raises(BackendError):
        fetch_trace(url.format(port=free_port()), ID, 5)


def test_show_views_the_trace(redis: Any, celery: Command, backend: Backend) -> None:
    """As a tree, with the URL of the option."""
    fill_celery(redis, "a1")
    backend.answers(JAEGER)
    done = celery("show", "a1", "--view", "--backend-url", backend.url)
    assert (done.code, done.err) == (0, "")
    assert "process charge #2" in done.out
    assert "CardError" in done.out
    assert f"--view --backend-url {backend.url}" in done.out


def test_backend_of_the_trace_url_is_asked(
    redis: Any, celery: Command, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it is Jaeger's: that of Tempo is Grafana's."""
    fill_celery(redis, "a1")
    backend.answers(JAEGER)
    monkeypatch.setenv("OTEL_QUEUE_TRACE_URL", f"jaeger:{backend.url}")
    assert "process charge" in celery("show", "a1", "--view").out
    actions = celery("show", "a1", "--json").document["messages"][0]["actions"]
    assert [each["name"] for each in actions] == ["copy", "open", "view"]
    monkeypatch.setenv("OTEL_QUEUE_TRACE_URL", f"tempo:{backend.url}")
    done = celery("show", "a1", "--view")
    assert done.code == 2
    assert "--backend-url" in done.err


def test_exit_codes_of_a_view(redis: Any, celery: Command, backend: Backend) -> None:
    """1 the trace is not there, 2 with JSON, 3 the backend does not answer."""
    fill_celery(redis, "a1")
    backend.answers(b"", status=404)
    assert celery("show", "a1", "--view", "--backend-url", backend.url).code == 1
    assert celery("show", "a1", "--view", "--backend-url", backend.url, "--json").code == 2
    url = f"http://me:s3cret@127.0.0.1:{free_port()}"
    assert celery("show", "a1", "--view", "--backend-url", url).code == 3
    assert celery("show", "a1", "--view", "--backend-url", "jaeger").code == 2
