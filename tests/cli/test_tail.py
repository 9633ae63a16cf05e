"""`otel-queue tail`: OTLP in, traces out, when they are complete or quiet."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_queue_plugins.cli import main
from otel_queue_plugins.cli.otlp import read_spans
from otel_queue_plugins.cli.otlp_json import from_json
from otel_queue_plugins.cli.receiver import MOST_BYTES, OtlpReceiver
from otel_queue_plugins.cli.tail import filters
from otel_queue_plugins.cli.tail.gathering import MOST_SPANS, MOST_TRACES, QUIET_S, Gathering
from otel_queue_plugins.cli.tail.receiving import TailReceiver, serve_grpc
from tests.services import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"


class Clock:
    """Seconds that only the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def request_of(*spans: dict[str, Any]) -> ExportTraceServiceRequest:
    """An export request of one service."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    attribute = group.resource.attributes.add(key="service.name")
    attribute.value.string_value = "shop"
    scope = group.scope_spans.add()
    for facts in spans:
        span = scope.spans.add(
            trace_id=bytes.fromhex(facts.get("trace", TRACE)),
            span_id=bytes.fromhex(facts["id"]),
            parent_span_id=bytes.fromhex(facts.get("parent", "")),
            name=facts.get("name", "span"),
            start_time_unix_nano=facts.get("start", 1_000_000_000),
            end_time_unix_nano=facts.get("end", 2_000_000_000),
        )
        span.status.code = 2 if facts.get("failed") else 0
        for name, value in facts.get("attributes", {}).items():
            span.attributes.add(key=name).value.string_value = value
    return request


def send(identity: str, message: str = "m", **facts: Any) -> dict[str, Any]:
    """A send span."""
    attributes = {"messaging.operation.type": "send", "messaging.message.id": message}
    return {"id": identity, "attributes": attributes, **facts}


def process(identity: str, outcome: str, message: str = "m", **facts: Any) -> dict[str, Any]:
    """A process span."""
    attributes = {
        "messaging.operation.type": "process",
        "messaging.message.id": message,
        "taskqueue.task.outcome": outcome,
        "taskqueue.task.name": "shop.pay",
    }
    return {"id": identity, "attributes": attributes, **facts}


A, B, C, D = ("a" * 16, "b" * 16, "c" * 16, "d" * 16)
COMPLETE: Final = {
    "a span alone": [{"id": A}],
    "a message that was processed": [send(A), process(B, "success", parent=A)],
    "one that failed": [send(A), process(B, "failure", parent=A)],
    "one that was tried again": [
        *(send(A), process(B, "retry", parent=A)),
        process(C, "success", parent=A, start=5_000_000_000),
    ],
    "a send that failed": [send(A, failed=True)],
}
INCOMPLETE: Final = {
    "no root": [process(B, "success", parent=A)],
    "a parent that has not ended": [{"id": A}, {"id": C, "parent": B}],
    "a message that was not processed": [send(A)],
    "one of two": [
        *({"id": D}, send(A, parent=D), send(B, "n", parent=D)),
        process(C, "success", parent=A),
    ],
    "one that will be tried again": [send(A), process(B, "retry", parent=A)],
}


def gathering_with(*spans: dict[str, Any]) -> tuple[Gathering, Clock]:
    """Spans that have arrived now."""
    clock = Clock()
    gathering = Gathering(clock)
    gathering.add(read_spans(request_of(*spans)))
    return gathering, clock


@pytest.mark.parametrize("case", COMPLETE)
def test_complete_trace_is_due_at_once(case: str) -> None:
    """And once."""
    gathering, clock = gathering_with(*COMPLETE[case])
    ((spans, is_continued),) = gathering.due()
    assert len(spans) == len(COMPLETE[case])
    assert not is_continued
    clock.now += 10 * QUIET_S
    assert list(gathering.due()) == []
    assert gathering.seconds_left() is None


@pytest.mark.parametrize("case", INCOMPLETE)
def test_incomplete_trace_is_due_when_it_is_quiet(case: str) -> None:
    """Two seconds after its last span."""
    gathering, clock = gathering_with(*INCOMPLETE[case])
    assert list(gathering.due()) == []
    assert gathering.seconds_left() == QUIET_S
    clock.now += QUIET_S
    assert gathering.seconds_left() == 0
    ((spans, _),) = gathering.due()
    assert len(spans) == len(INCOMPLETE[case])


def test_span_that_comes_later_shows_its_trace_again() -> None:
    """As a continuation, and whole."""
    gathering, clock = gathering_with(send(A))
    clock.now += QUIET_S
    assert [is_continued for _, is_continued in gathering.due()] == [False]
    gathering.add(read_spans(request_of(process(B, "success", parent=A))))
    ((spans, is_continued),) = gathering.due()
    assert len(spans) == 2
    assert is_continued


def test_memory_is_bounded() -> None:
    """The oldest trace goes; a trace takes no more spans than so many."""
    gathering, _ = gathering_with()
    for number in range(MOST_TRACES + 5):
        gathering.add(read_spans(request_of({"id": A, "trace": f"{number + 1:032x}"})))
    assert len(list(gathering.due())) == MOST_TRACES
    spans = [{"id": f"{number + 1:016x}", "parent": D} for number in range(MOST_SPANS + 5)]
    gathering, clock = gathering_with(*spans)
    clock.now += QUIET_S
    ((kept, _),) = gathering.due()
    assert len(kept) == MOST_SPANS


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], True),
        (["--service", "sh*"], True),
        (["--service", "web"], False),
        (["--task", "shop.*"], True),
        (["--task", "ship"], False),
        (["--errors"], False),
        (["--slower", "1s"], True),
        (["--slower", "1001ms"], False),
        (["--service", "shop", "--errors"], False),
    ],
)
def test_filters(arguments: list[str], wanted: bool) -> None:
    """All that are given."""
    parsed = main.make_parser().parse_args(["tail", *arguments])
    spans = list(read_spans(request_of(send(A), process(B, "success", parent=A))))
    assert filters.is_wanted(spans, parsed) is wanted


@pytest.mark.parametrize("outcome", ["failure", "dead_letter", "lost", "timeout"])
def test_failed_delivery_is_an_error_whatever_its_status(outcome: str) -> None:
    """So that `--errors` shows it."""
    parsed = main.make_parser().parse_args(["tail", "--errors"])
    assert filters.is_wanted(list(read_spans(request_of(process(B, outcome)))), parsed)


@given(
    st.lists(
        st.tuples(
            st.binary(min_size=16, max_size=16),
            st.binary(min_size=8, max_size=8),
            st.text(max_size=20),
            st.integers(0, 2**63),
        ),
        max_size=5,
    )
)
def test_json_is_read_as_the_same_in_protobuf(rows: list[tuple[bytes, bytes, str, int]]) -> None:
    """Ids are hexadecimal there, in any case of letters."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for trace_id, span_id, name, time_ns in rows:
        scope.spans.add(trace_id=trace_id, span_id=span_id, name=name, start_time_unix_nano=time_ns)
    document = MessageToDict(request)
    for group in document.get("resourceSpans", []):
        for scoped in group.get("scopeSpans", []):
            for span, row in zip(scoped.get("spans", []), rows, strict=True):
                span["traceId"], span["spanId"] = row[0].hex(), row[1].hex().upper()
                span["addedLater"] = {"unknown": True}
    assert from_json(json.dumps(document).encode(), ExportTraceServiceRequest()) == request


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_what_is_no_otlp_in_json_is_a_value_error(body: bytes) -> None:
    """No other error."""
    try:
        from_json(body, ExportTraceServiceRequest())
    except ValueError:
        return


@pytest.mark.parametrize(
    "body",
    [b"[]", b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": 5}]}]}]}', b"[" * 9999],
)
def test_json_of_another_form_is_a_value_error(body: bytes) -> None:
    """Wrong types, wrong ids, and nesting without end."""
    with pytest.raises(ValueError, match=r"OTLP|id|Expecting|recursion"):
        from_json(body, ExportTraceServiceRequest())


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    """One that listens."""
    with OtlpReceiver() as made:
        yield made


def post(url: str, body: bytes, *, method: str = "POST", **headers: str) -> tuple[int, bytes]:
    """Status and body of an answer."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, names, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_json_over_http_is_taken_and_answered_in_json(receiver: OtlpReceiver) -> None:
    """Packed, too."""
    span = {"traceId": TRACE, "spanId": A, "name": "job", "kind": 5}
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    body = gzip.compress(json.dumps(document).encode())
    kind = {"Content_Type": "application/json; charset=utf-8", "Content_Encoding": "gzip"}
    assert post(f"{receiver.endpoint}/v1/traces", body, **kind) == (200, b"{}")
    (found,) = receiver.spans()
    assert (found.trace_id, found.span_id, found.kind) == (TRACE, A, "consumer")


@pytest.mark.parametrize(
    ("path", "kind", "body", "status"),
    [
        ("/v1/traces", "application/x-protobuf", b"\xff", 400),
        ("/v1/traces", "application/json", b"{", 400),
        ("/v1/traces", "text/plain", b"", 415),
        ("/v2/traces", "application/x-protobuf", b"", 404),
    ],
)
def test_what_is_no_export_is_refused(
    receiver: OtlpReceiver, path: str, kind: str, body: bytes, status: int
) -> None:
    """With the status that OTLP has for it."""
    assert post(f"{receiver.endpoint}{path}", body, Content_Type=kind)[0] == status
    assert receiver.spans() == []


def test_export_is_posted(receiver: OtlpReceiver) -> None:
    """Nothing else is there to be had."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{receiver.endpoint}/v1/traces", timeout=30)
    with refused.value:
        assert refused.value.code == 405
        assert refused.value.headers["Allow"] == "POST"


def test_body_without_end_is_refused(receiver: OtlpReceiver) -> None:
    """Before it is read, and before it is unpacked."""
    port = int(receiver.endpoint.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (MOST_BYTES + 1)
        )
        assert b" 413 " in client.recv(100)
    bomb = gzip.compress(bytes(MOST_BYTES + 1))
    kind = {"Content_Type": "application/x-protobuf", "Content_Encoding": "gzip"}
    status, text = post(f"{receiver.endpoint}/v1/traces", bomb, **kind)
    assert status == 400
    assert b"larger" in text


def test_grpc_is_taken_and_passed_on_over_http(receiver: OtlpReceiver) -> None:
    """With the exporter of OpenTelemetry as the client."""
    port = free_port()
    tailing = TailReceiver(Gathering(), port=0, forward_to=receiver.endpoint)
    with tailing:
        stop = serve_grpc(port, tailing.respond)
        assert stop is not None
        exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{port}", insecure=True)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        with provider.get_tracer("test").start_as_current_span("job"):
            pass
        provider.shutdown()
        ((spans, _),) = tailing.due(30)
        stop()
    assert [each.name for each in spans] == ["job"]
    assert receiver.wait_for(lambda: bool(receiver.spans()), 30)
    assert [each.name for each in receiver.spans()] == ["job"]
    assert tailing.forward_failures == ()


class Tail:
    """The command in a thread."""

    def __init__(self, *arguments: str) -> None:
        self.port = free_port()
        self.code: int | None = None
        command = ["tail", "--port", str(self.port), "--grpc-port", "0", *arguments]
        parsed = main.make_parser().parse_args(command)

        def run() -> None:
            from otel_queue_plugins.cli.tail.command import tail

            self.code = tail(parsed)

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def take(self, *spans: dict[str, Any]) -> None:
        """Post spans, as soon as it listens."""
        body = request_of(*spans).SerializeToString()
        deadline = time.monotonic() + 30
        while not self._is_posted(body):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def _is_posted(self, body: bytes) -> bool:
        url = f"http://127.0.0.1:{self.port}/v1/traces"
        try:
            return post(url, body, Content_Type="application/x-protobuf")[0] == 200
        except urllib.error.URLError:
            return False

    def end(self) -> int | None:
        """The exit code."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.code


def test_trace_is_shown_as_a_tree(capsys: pytest.CaptureFixture[str]) -> None:
    """With what to set in the app, and how many there were."""
    tail = Tail("--once", "1")
    tail.take(send(A, name="send pay"), process(B, "success", parent=A, name="process pay"))
    assert tail.end() == 0
    out, err = capsys.readouterr()
    assert "send pay" in out
    assert "process pay" in out
    assert TRACE in out
    assert f"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{tail.port}" in err
    assert "1 trace shown" in err


def test_trace_is_one_document_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its URL, and whether something has failed."""
    monkeypatch.setenv("OTEL_QUEUE_TRACE_URL", "jaeger:http://jaeger")
    tail = Tail("--once", "1", "--json", "--quiet", "--errors")
    tail.take({"id": C, "trace": "1" * 32})
    tail.take(send(A), process(B, "failure", parent=A))
    assert tail.end() == 0
    out, err = capsys.readouterr()
    (line,) = out.splitlines()
    document = json.loads(line)
    assert document["trace_id"] == TRACE
    assert document["trace_url"] == f"http://jaeger/trace/{TRACE}"
    assert document["failed"] is True
    assert [each["parent_id"] for each in document["spans"]] == [None, A]
    assert err == ""


def test_timeout_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 1 if there were not enough traces."""
    assert Tail("--once", "1", "--timeout", "100ms").end() == 1
    assert Tail("--timeout", "100ms").end() == 0
    assert "0 traces shown" in capsys.readouterr().err


def test_port_that_is_taken_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main.main(["tail", "--port", str(port), "--grpc-port", "0"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--port {port}" in line


def test_grpc_port_that_is_taken_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """As that of HTTP."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main.main(["tail", "--port", str(free_port()), "--grpc-port", str(port)]) == 3
    assert f"--grpc-port {port}" in capsys.readouterr().err


def test_what_cannot_be_passed_on_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The traces are shown all the same."""
    tail = Tail("--once", "3", "--forward", f"http://127.0.0.1:{free_port()}", "--timeout", "60s")
    for number in range(1, 4):
        tail.take({"id": A, "trace": f"{number:032x}"})
    assert tail.end() == 0
    assert capsys.readouterr().err.count("not passed on") <= 1


@pytest.mark.parametrize("arguments", [["--port", "x"], ["--once", "0"], ["--slower", "1y"]])
def test_wrong_option_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """In a line that names it."""
    with pytest.raises(SystemExit) as ended:
        main.main(["tail", *arguments])
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err
