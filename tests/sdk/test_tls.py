"""Certificates of the environment are used, and not the system's instead."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import certifi
import grpc  # type: ignore[import-untyped]
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sdk.conftest import Programs


@dataclass(slots=True, kw_only=True)
class Secured:
    """A server that answers over TLS, with the bodies it got."""

    certificate: Path
    endpoint: str = ""
    bodies: list[bytes] = field(default_factory=list)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost; its key lies beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("tls") / "cert.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    subject = ["-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(path.with_name("key.pem")), "-out", str(path)]
    subprocess.run([*command.split(), *subject, *files], check=True, capture_output=True)
    return path


@pytest.fixture
def secured(protocol: str, certificate: Path) -> Iterator[Secured]:
    """A TLS server for `protocol`."""
    secured = Secured(certificate=certificate)
    yield from (_grpc if protocol == "grpc" else _http)(secured)


def _http(secured: Secured) -> Iterator[Secured]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            secured.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(secured.certificate, secured.certificate.with_name("key.pem"))
    with ThreadingHTTPServer(("localhost", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        secured.endpoint = f"https://localhost:{server.server_port}"
        yield secured
        server.shutdown()
        thread.join()


def _grpc(secured: Secured) -> Iterator[Secured]:
    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, handler_call_details: object) -> Any:
            del handler_call_details
            return grpc.unary_unary_rpc_method_handler(self._answer)

        def _answer(self, body: bytes, _context: object) -> bytes:
            secured.bodies.append(body)
            return b""

    key = secured.certificate.with_name("key.pem").read_bytes()
    credentials = grpc.ssl_server_credentials([(key, secured.certificate.read_bytes())])
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([Handler()])
    secured.endpoint = f"https://localhost:{server.add_secure_port('localhost:0', credentials)}"
    server.start()
    yield secured
    server.stop(grace=None).wait()


def test_configured_certificate_is_trusted(
    programs: Programs, protocol: str, secured: Secured
) -> None:
    """`OTEL_EXPORTER_OTLP_CERTIFICATE` for a backend with a certificate of its own.

    Also where a container sets a bundle for everything else.
    """
    program = programs.start(
        "script",
        endpoint=secured.endpoint,
        protocol=protocol,
        OTEL_EXPORTER_OTLP_CERTIFICATE=str(secured.certificate),
        REQUESTS_CA_BUNDLE=certifi.where(),
    )
    assert program.wait() == 0
    assert any(b"script" in body for body in secured.bodies)


def test_export_without_the_certificate_sends_nothing(
    programs: Programs, protocol: str, secured: Secured
) -> None:
    """The system's roots do not trust this backend; the process ends in time."""
    program = programs.start(
        "script", endpoint=secured.endpoint, protocol=protocol, OTEL_QUEUE_FLUSH_TIMEOUT="1"
    )
    assert program.wait() == 0
    assert secured.bodies == []


def test_missing_certificate_turns_export_off(
    programs: Programs, protocol: str, secured: Secured
) -> None:
    """Over gRPC the SDK would use the system's roots; nothing is sent, and a line says why."""
    program = programs.start(
        "script",
        endpoint=secured.endpoint,
        protocol=protocol,
        OTEL_EXPORTER_OTLP_CERTIFICATE="/no/such/ca.pem",
    )
    assert program.wait() == 0
    assert secured.bodies == []
    assert program.log.count("OTEL_EXPORTER_OTLP_CERTIFICATE='/no/such/ca.pem'") == 1
