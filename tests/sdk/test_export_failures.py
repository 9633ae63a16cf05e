"""A refused export is one log line per signal: where, why, what to do, and what was lost."""

from __future__ import annotations

import re
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from otel_queue_plugins.cli.receiver import Reply
from tests.receiver import Fault, FaultyReceiver, GrpcReceiver
from tests.sdk.conftest import record_spans
from tests.sdk.test_tls import certificate  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sdk.conftest import Programs, Receiver

pytestmark = pytest.mark.slow

SIGNALS = ("traces", "metrics", "logs")
ALL = {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TIMEOUT": "2"}
MENDED = "it is lost, and so is what follows until this is mended"


def lines_of(log: str) -> dict[str, str]:
    """The log lines about exports by signal; one for each."""
    lines = [line for line in log.splitlines() if re.match(r"(traces|metrics|logs) to ", line)]
    assert len({line.split()[0] for line in lines}) == len(lines), log
    assert "Traceback" not in log
    assert "s3cret" not in log
    return {line.split()[0]: line for line in lines}


@pytest.mark.parametrize("status", [401, 403, 404])
def test_refused_http_export_is_logged_once_per_signal(
    programs: Programs, http_receiver: FaultyReceiver, status: int
) -> None:
    """The line has the URL; it does not say that the export is retried."""
    http_receiver.fault, http_receiver.rejection = Fault.REJECT, Reply(status)
    program = programs.start_sending(
        http_receiver, "script", OTEL_EXPORTER_OTLP_HEADERS="api-key=s3cret", **ALL
    )
    assert program.wait() == 0
    lines = lines_of(program.log)
    assert set(lines) == set(SIGNALS)
    for signal, line in lines.items():
        url = f"{http_receiver.endpoint}/v1/{signal}"
        assert line.startswith(f"{signal} to {url}: answered {status} ")
        assert ("api-key" in line) is (status != 404)
        assert MENDED in line
        assert "goes on trying" not in line


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("UNAUTHENTICATED", "it does not accept the credentials; OTEL_EXPORTER_OTLP_HEADERS sends"),
        ("PERMISSION_DENIED", "it does not accept the credentials"),
        ("UNIMPLEMENTED", "it speaks gRPC and takes no "),
    ],
)
def test_refused_grpc_export_is_logged_once_per_signal(
    programs: Programs, code: str, words: str
) -> None:
    """As over HTTP, with the status code."""
    with GrpcReceiver() as receiver:
        receiver.fault, receiver.rejection_code = Fault.REJECT, code
        program = programs.start_sending(
            receiver, "script", OTEL_EXPORTER_OTLP_HEADERS="api-key=s3cret", **ALL
        )
        assert program.wait() == 0
        lines = lines_of(program.log)
        assert set(lines) == set(SIGNALS)
        for signal, line in lines.items():
            assert line.startswith(f"{signal} to {receiver.endpoint}: answered {code}: {words}")
            assert MENDED in line


def test_failure_line_counts_the_refused_spans(programs: Programs, receiver: Receiver) -> None:
    """The number includes the batch that the line is about."""
    program = programs.start_sending(
        receiver,
        "spans_on_request",
        fault=Fault.REJECT,
        OTEL_METRICS_EXPORTER="none",
        OTEL_BSP_SCHEDULE_DELAY="60000",
    )
    record_spans(program, 7)
    program.stdin.close()
    assert program.wait() == 0
    assert "; dropped so far: 7 spans; said once in 60 s)" in lines_of(program.log)["traces"]


def test_failure_line_counts_log_records(programs: Programs, http_receiver: FaultyReceiver) -> None:
    """They are counted separately from spans."""
    program = programs.start_sending(
        http_receiver,
        "script",
        fault=Fault.REJECT,
        OTEL_TRACES_EXPORTER="none",
        OTEL_METRICS_EXPORTER="none",
        **ALL,
    )
    assert program.wait() == 0
    assert "dropped so far: 0 spans, 1 log record;" in lines_of(program.log)["logs"]


@pytest.mark.parametrize(
    ("variable", "path", "remedy"),
    [
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is used as it is, so it has to end with /v1/traces",
        ),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "/v1/traces",
            "write OTEL_EXPORTER_OTLP_ENDPOINT without /v1/..., which is appended for each signal",
        ),
    ],
)
def test_failure_line_names_the_remedy_for_a_wrong_path(
    programs: Programs, http_receiver: FaultyReceiver, variable: str, path: str, remedy: str
) -> None:
    """An OTLP receiver accepts its own paths only."""
    endpoint = f"{http_receiver.endpoint}{path}"
    program = programs.start(
        "script", **{variable: endpoint, "OTEL_METRICS_EXPORTER": "none", "OTEL_SERVICE_NAME": "s"}
    )
    assert program.wait() == 0
    line = lines_of(program.log)["traces"]
    assert line.startswith(f"traces to {endpoint}")
    assert f"answered 404 Not Found: {remedy}" in line


def test_redirect_is_logged_as_a_refusal(programs: Programs, http_receiver: FaultyReceiver) -> None:
    """The SDK takes a redirect for success, and the data would be lost without a log line."""
    http_receiver.fault = Fault.REJECT
    http_receiver.rejection = Reply(308, b"", {"Location": "https://collector/v1/traces"})
    program = programs.start_sending(http_receiver, "script", OTEL_METRICS_EXPORTER="none")
    assert program.wait() == 0
    line = lines_of(program.log)["traces"]
    assert "a redirect: write https://collector in OTEL_EXPORTER_OTLP_ENDPOINT" in line
    assert "dropped so far: 1 span;" in line


class _Deaf(BaseHTTPRequestHandler):
    """A web server that is no OTLP receiver."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(params=["plain", "tls"])
def web(
    request: pytest.FixtureRequest,
    certificate: Path,  # noqa: F811
) -> Iterator[tuple[str, int]]:
    """A running `_Deaf`: whether it speaks TLS, and its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Deaf) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if request.param == "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, certificate.with_name("key.pem"))
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield request.param, server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_web_server_in_place_of_a_receiver_is_recognised(
    programs: Programs, web: tuple[str, int], protocol: str, scheme: str
) -> None:
    """The line names TLS and protocol mistakes, whatever the port is."""
    kind, port = web
    if (kind, scheme, protocol) == ("tls", "https", "http/protobuf"):
        pytest.skip("a certificate that nobody knows is another matter")
    program = programs.start(
        "script", endpoint=f"{scheme}://127.0.0.1:{port}", protocol=protocol, **ALL
    )
    assert program.wait() == 0
    lines = lines_of(program.log)
    assert set(lines) == set(SIGNALS)
    words = {
        ("plain", "https"): "this port does not speak TLS; write http:// in OTEL_",
        ("tls", "http"): "this port speaks TLS; write https:// in OTEL_",
        ("plain", "http"): {"grpc": "this port speaks HTTP, not gRPC"}.get(
            protocol, "answered 501"
        ),
        ("tls", "https"): "its certificate is not trusted",
    }
    assert all(words[kind, scheme] in line for line in lines.values()), program.log


def test_http_export_to_a_grpc_port_is_recognised(programs: Programs) -> None:
    """The port need not be 4317."""
    with GrpcReceiver() as receiver:
        program = programs.start("script", endpoint=receiver.endpoint, **ALL)
        assert program.wait() == 0
        lines = lines_of(program.log)
    assert set(lines) == set(SIGNALS)
    advice = (
        "this port speaks gRPC, not HTTP; set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or use the port"
    )
    assert all(advice in line for line in lines.values()), program.log


def test_collector_without_an_answer_is_logged_at_the_end(
    programs: Programs, receiver: Receiver
) -> None:
    """Also if the process ends before the export has timed out."""
    program = programs.start_sending(
        receiver, "script", fault=Fault.HANG, OTEL_QUEUE_FLUSH_TIMEOUT="1"
    )
    assert program.wait() == 0
    (line,) = lines_of(program.log).values()
    assert "no answer yet (telemetry goes on trying; " in line
    receiver.fault = Fault.OK
