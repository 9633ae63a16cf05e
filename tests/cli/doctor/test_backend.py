"""Backends that do not take the test data, and what they say."""

from __future__ import annotations

import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
import pytest

from otel_queue_plugins.cli.receiver import Reply
from otel_queue_plugins.sdk.diagnosis import probing
from tests.cli.doctor.conftest import SECRET
from tests.receiver import Fault
from tests.services import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.doctor.conftest import Diagnosis, Doctor
    from tests.receiver import FaultyReceiver, GrpcReceiver

GRPC = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
TOKEN = {"OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=Bearer%20{SECRET}"}
WAIT = ("--timeout", "20s")


def environ(endpoint: str, **more: str) -> dict[str, str]:
    """An environment with this endpoint."""
    return {"OTEL_SERVICE_NAME": "shop", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **more}


@pytest.fixture(autouse=True)
def nothing_probed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No port's protocol is remembered: ports are used again. A busy machine has time to answer."""
    monkeypatch.setattr(probing, "_SECONDS", 15.0)
    probing.forget()
    yield
    probing.forget()


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_backend_takes_a_span_a_metric_and_a_log_record(
    doctor: Doctor, backend: FaultyReceiver, grpc_backend: GrpcReceiver, protocol: str
) -> None:
    """Of this service; the link leads to the span's trace."""
    receiver = grpc_backend if protocol == "grpc" else backend
    found = doctor(
        *WAIT,
        **environ(receiver.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL=protocol),
        OTEL_LOGS_EXPORTER="otlp",
        OTEL_QUEUE_TRACE_URL="jaeger:http://jaeger:16686",
    )
    assert (found.code, found.broken()) == (0, {})
    (span,) = receiver.spans()
    assert (span.name, span.service) == ("doctor", "shop")
    assert span.attributes == {"taskqueue.admin.operation": "doctor"}
    (point,) = receiver.points()
    assert (point.name, point.value, point.service) == ("taskqueue.telemetry.dropped", 0, "shop")
    (record,) = receiver.logs()
    assert record.body == "otel-queue doctor"
    assert found.document["trace_id"] == span.trace_id
    assert found.document["trace_url"] == f"http://jaeger:16686/trace/{span.trace_id}"
    assert [each["ok"] for each in found.of("backend")] == [True] * 3


def test_port_that_is_unusual_and_works_is_fine(doctor: Doctor, backend: FaultyReceiver) -> None:
    """A warning about the path is nothing, where the backend takes what is sent there."""
    own = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{backend.endpoint}/v1/traces/"}
    found = doctor(*WAIT, OTEL_SERVICE_NAME="shop", **own)
    assert found.of("endpoint")
    assert "endpoint" not in found.broken()


def status_body(message: str) -> bytes:
    """An error as OTLP over HTTP has it."""
    body: bytes = import_module("google.rpc.status_pb2").Status(message=message).SerializeToString()
    return body


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(401, b"unknown API key"), ["answered 401", "unknown API key", "credentials"]),
        (
            Reply(403, f'{{"error":"{SECRET} may not write"}}'.encode()),
            ["answered 403", "*** may not write", "sends authorization"],
        ),
        (
            Reply(404, b"<html><title>404</title><style>p{}</style><h1>Not &lt;here&gt;</h1>"),
            ["answered 404", "404 Not <here>", "is this the endpoint of an OTLP receiver?"],
        ),
        (
            Reply(
                400, status_body("dataset is missing"), {"Content-Type": "application/x-protobuf"}
            ),
            ["answered 400", "dataset is missing"],
        ),
        (Reply(400, b"\x1b[2Jbad\r\nX: \x07y"), ["?[2Jbad X: ?y"]),
        (Reply(400, b"\xff" * 3000), ["answered 400"]),
        (Reply(413), ["answered 413", "lower OTEL_BSP_MAX_EXPORT_BATCH_SIZE"]),
        (Reply(301, b"", {"Location": "https://there/v1/traces"}), ["a redirect", "https://there"]),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Reply) else "",
)
def test_refusal_over_http_has_the_words_of_the_backend(
    doctor: Doctor, backend: FaultyReceiver, reply: Reply, said: list[str]
) -> None:
    """On one line, cut, without control characters and without what we have sent as a secret."""
    backend.rejection, backend.fault = reply, Fault.REJECT
    found = doctor(*WAIT, **environ(backend.endpoint), **TOKEN)
    assert found.code == 1
    lines = found.broken()["backend"]
    assert len(lines) == 2
    assert all(text in lines[0] for text in said), lines
    assert all(len(line) < 700 for line in lines)
    assert not any(ord(character) < 32 for line in lines for character in line)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("UNAUTHENTICATED", "it does not accept the credentials"),
        ("PERMISSION_DENIED", "it does not accept the credentials"),
        ("UNIMPLEMENTED", "takes no traces over OTLP"),
        ("INVALID_ARGUMENT", "answered INVALID_ARGUMENT"),
    ],
)
def test_refusal_over_grpc_has_the_words_of_the_backend(
    doctor: Doctor, grpc_backend: GrpcReceiver, code: str, said: str
) -> None:
    """The message of the status."""
    grpc_backend.rejection_code, grpc_backend.fault = code, Fault.REJECT
    grpc_backend.rejection_details = f"tenant\x1b[31m of {SECRET} is unknown"
    found = doctor(*WAIT, **environ(grpc_backend.endpoint), **GRPC, **TOKEN)
    assert found.code == 1
    line = found.broken()["backend"][0]
    assert said in line
    assert "tenant?[31m of *** is unknown" in line


def refused() -> str:
    """An endpoint at which nothing listens."""
    return f"http://127.0.0.1:{free_port()}"


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize(
    ("endpoint", "said"),
    [(refused, "nothing listens there"), (lambda: "http://no.such.invalid:4319", "be resolved")],
    ids=["refused", "name"],
)
def test_backend_that_is_not_there_has_its_own_exit_code(
    doctor: Doctor, protocol: str, endpoint: Any, said: str
) -> None:
    """3: nothing is wrong with the settings as far as anybody can tell."""
    found = doctor(*WAIT, **environ(endpoint(), OTEL_EXPORTER_OTLP_PROTOCOL=protocol))
    assert (found.code, set(found.broken())) == (3, {"backend"})
    assert all(said in line for line in found.broken()["backend"]), found.out


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.UNAVAILABLE])
def test_backend_that_does_not_answer_ends_the_command_in_time(
    doctor: Doctor, backend: FaultyReceiver, fault: Fault
) -> None:
    """It does not wait until the exporter has given up, which is ten seconds."""
    backend.fault = fault
    begun = time.monotonic()
    found = doctor("--timeout", "1s", **environ(backend.endpoint))
    assert time.monotonic() - begun < 60
    assert found.code == 3
    said = "no answer" if fault is Fault.HANG else "answered 503"
    assert all(said in line for line in found.broken()["backend"])
    backend.fault = Fault.OK


@pytest.mark.parametrize("own", ["http", "grpc"])
def test_port_of_the_other_protocol_is_found_out(
    doctor: Doctor, backend: FaultyReceiver, grpc_backend: GrpcReceiver, own: str
) -> None:
    """By what the port speaks, whatever its number."""
    if own == "http":
        found = doctor(*WAIT, **environ(grpc_backend.endpoint))
        said = "set OTEL_EXPORTER_OTLP_PROTOCOL=grpc"
    else:
        found = doctor(*WAIT, **environ(backend.endpoint), **GRPC)
        said = "set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
    assert found.code == 1
    assert all(said in line for line in found.broken()["backend"]), found.out


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that does not trust the certificate hangs up, which is the test."""


@pytest.fixture
def secured(certificate: Path) -> Iterator[int]:
    """The port of an HTTP server behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with _Server(("localhost", 0), _Handler) as server:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def secured_grpc(certificate: Path) -> Iterator[int]:
    """The port of a gRPC server behind TLS, which knows no service."""
    key = certificate.with_name("key.pem").read_bytes()
    credentials = grpc.ssl_server_credentials([(key, certificate.read_bytes())])
    server = grpc.server(ThreadPoolExecutor(2))
    port = server.add_secure_port("localhost:0", credentials)
    server.start()
    yield port
    server.stop(grace=None).wait()


def tls_of(found: Diagnosis) -> str:
    """The first broken line of the check."""
    return found.broken()["tls"][0]


def test_certificate_that_nobody_trusts_is_broken(
    doctor: Doctor, secured: int, certificate: Path
) -> None:
    """Until its own is named."""
    endpoint = f"https://localhost:{secured}"
    found = doctor(*WAIT, **environ(endpoint))
    assert found.code == 1
    assert "its certificate is not trusted" in tls_of(found)
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in tls_of(found)
    found = doctor(*WAIT, **environ(endpoint), OTEL_EXPORTER_OTLP_CERTIFICATE=str(certificate))
    assert (found.code, found.broken()) == (0, {})
    assert all("the certificate is trusted" in each["what"] for each in found.of("tls"))


def test_plain_text_to_a_port_with_tls_is_broken(doctor: Doctor, secured: int) -> None:
    """And TLS to one without."""
    found = doctor(*WAIT, **environ(f"http://localhost:{secured}"))
    assert "write https:// in OTEL_EXPORTER_OTLP_ENDPOINT" in tls_of(found)
    assert found.code == 1


def test_tls_to_a_port_of_plain_text_is_broken(doctor: Doctor, backend: FaultyReceiver) -> None:
    """The line to change is the scheme."""
    found = doctor(*WAIT, **environ(backend.endpoint.replace("http://", "https://")))
    assert "write http:// in OTEL_EXPORTER_OTLP_ENDPOINT" in tls_of(found)


def test_tls_over_grpc_is_found_out(
    doctor: Doctor, secured_grpc: int, grpc_backend: GrpcReceiver, certificate: Path
) -> None:
    """A certificate that is not trusted, plain text to TLS, and TLS to plain text."""
    found = doctor(*WAIT, **environ(f"https://localhost:{secured_grpc}"), **GRPC)
    assert "its certificate is not trusted" in tls_of(found)
    found = doctor(*WAIT, **environ(f"http://localhost:{secured_grpc}"), **GRPC)
    assert "write https://" in tls_of(found)
    found = doctor(*WAIT, **environ(grpc_backend.endpoint.replace("http://", "https://")), **GRPC)
    assert "write http://" in tls_of(found)
    trusted = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(certificate)}
    found = doctor(*WAIT, **environ(f"https://localhost:{secured_grpc}"), **GRPC, **trusted)
    assert "tls" not in found.broken()
    assert "takes no traces over OTLP" in found.broken()["backend"][0]


def test_text_has_the_words_and_the_line_to_change(doctor: Doctor, backend: FaultyReceiver) -> None:
    """A line for each finding, an arrow before what to do, and the numbers at the end."""
    backend.rejection, backend.fault = Reply(401, b"who are you?"), Fault.REJECT
    found = doctor.text(*WAIT, **environ(backend.endpoint))
    assert found.code == 1
    assert "broken  backend" in found.out
    assert "it says: 'who are you?'" in found.out
    assert "-> it wants credentials, and OTEL_EXPORTER_OTLP_HEADERS is not set" in found.out
    assert found.out.splitlines()[-1].endswith(" 2 broken, 0 unknown")
    assert found.err == ""
