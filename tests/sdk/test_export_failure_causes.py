"""The cause of a failed export in words, with the remedy. Without processes and exporters."""

from __future__ import annotations

import socket
import ssl
import threading
from http.client import BadStatusLine, RemoteDisconnected
from typing import TYPE_CHECKING, Any

import pytest
import requests

from otel_queue_plugins.sdk.config.plan import read
from otel_queue_plugins.sdk.config.targets import Target
from otel_queue_plugins.sdk.diagnosis import causes, probing
from otel_queue_plugins.sdk.diagnosis.export_calls import Answer, ExportCall
from otel_queue_plugins.sdk.diagnosis.remedies import BROKEN, LOST, RETRIED

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"


@pytest.fixture(autouse=True)
def unknown_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe finds out nothing, unless a test sets the result."""
    monkeypatch.setattr(probing, "protocol_at", lambda *_: "")


def export_call(signal: str = "traces", **environ: str) -> ExportCall:
    """An export to the endpoint in `environ`."""
    (target,) = read({ENDPOINT: "http://collector:5000", **environ}).exporters[signal]
    assert isinstance(target, Target)
    return ExportCall(target, [])


def words_of_answer(answer: Answer, signal: str = "traces", **environ: str) -> tuple[str, str]:
    """The cause for an HTTP answer: words and effect."""
    sent = export_call(signal, **environ)
    sent.answered(answer)
    return causes.cause_of(sent)


def words_of_error(error: BaseException, **environ: str) -> tuple[str, str]:
    """The cause for an exception: words and effect."""
    sent = export_call(**environ)
    sent.failed(error)
    return causes.cause_of(sent)


def words_of_code(code: str, details: str, **environ: str) -> tuple[str, str]:
    """The cause for a status code of gRPC: words and effect."""
    sent = export_call(**{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", **environ})
    sent.code, sent.details = code, details
    return causes.cause_of(sent)


@pytest.mark.parametrize("status", [404, 405])
@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
def test_cause_of_404_names_the_path_to_correct(status: int, signal: str) -> None:
    """The line has the remedy for the two usual mistakes; otherwise it is another server."""
    asked = {f"OTEL_{signal.upper()}_EXPORTER": "otlp"}
    own = f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"
    answer = Answer(status, "No")
    text, meaning = words_of_answer(answer, signal, **asked, **{own: "http://collector:5000"})
    assert (
        text == f"answered {status} No: {own} is used as it is, so it has to end with /v1/{signal}"
    )
    text, _ = words_of_answer(answer, signal, **asked, **{ENDPOINT: "http://c:5000/v1/traces"})
    assert text.endswith(f"write {ENDPOINT} without /v1/..., which is appended for each signal")
    text, _ = words_of_answer(answer, signal, **asked)
    assert text.endswith("is this the endpoint of an OTLP receiver?")
    assert meaning == BROKEN


@pytest.mark.parametrize("status", [401, 403])
def test_cause_of_401_names_the_credentials(status: int) -> None:
    """The line says which variable sends which header, and never a value."""
    text, meaning = words_of_answer(Answer(status))
    assert text == f"answered {status}: it wants credentials, and {HEADERS} is not set"
    text, _ = words_of_answer(Answer(status), **{HEADERS: "Api-Key=s3cret,x-team=t3am"})
    expected = f"it does not accept the credentials; {HEADERS} sends api-key, x-team"
    assert text == f"answered {status}: {expected}"
    assert meaning == BROKEN
    for code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        text, meaning = words_of_code(code, "no", **{HEADERS: "Api-Key=s3cret"})
        assert (
            text == f"answered {code}: it does not accept the credentials; {HEADERS} sends api-key"
        )
        assert meaning == BROKEN


@pytest.mark.parametrize(
    ("answer", "expected", "meaning"),
    [
        (Answer(503, "Service Unavailable"), "answered 503 Service Unavailable", RETRIED),
        (Answer(429), "answered 429", RETRIED),
        (Answer(500, "Oops\r\nX: y"), "answered 500 Oops X: y", LOST),
        (Answer(413), "lower OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BROKEN),
        (
            Answer(301, "Moved", "https://u:p@there/v1/traces"),
            f"answered 301 Moved, a redirect: write https://***@there in {ENDPOINT}",
            BROKEN,
        ),
        (
            Answer(400, "Bad Request", body="Client sent an HTTP request to an HTTPS server."),
            f"this port speaks TLS; write https:// in {ENDPOINT}",
            BROKEN,
        ),
    ],
)
def test_cause_of_other_http_answers(answer: Answer, expected: str, meaning: str) -> None:
    """Statuses that the SDK retries are an outage, all others are a refusal."""
    text, found = words_of_answer(answer)
    assert text.endswith(expected)
    assert found == meaning


def test_cause_of_413_names_the_batch_size() -> None:
    """Traces and logs have a variable for it, metrics have none."""
    assert "OTEL_BLRP_" in words_of_answer(Answer(413), "logs", OTEL_LOGS_EXPORTER="otlp")[0]
    assert "too many series" in words_of_answer(Answer(413), "metrics")[0]


def _wrapped(error: BaseException) -> requests.ConnectionError:
    """An error as requests and urllib3 wrap it."""
    reason: Any = Exception("pool")
    reason.reason = error
    return requests.ConnectionError(reason)


def _ssl_error(kind: type[ssl.SSLError], reason: str) -> ssl.SSLError:
    error = kind(1, f"[SSL: {reason}] and more")
    error.reason = reason
    return error


def _untrusted() -> ssl.SSLError:
    error = ssl.SSLCertVerificationError(1, "no")
    error.reason, error.verify_message = "CERTIFICATE_VERIFY_FAILED", "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("error", "expected", "meaning"),
    [
        (BadStatusLine("\0\0\x18\4"), "this port speaks gRPC, not HTTP; set ", BROKEN),
        (BadStatusLine("\x15\3\1\0"), "this port speaks TLS; write https://", BROKEN),
        (BadStatusLine("SSH-2.0"), "it does not speak HTTP", BROKEN),
        (_ssl_error(ssl.SSLError, "WRONG_VERSION_NUMBER"), "this port does not speak TLS", BROKEN),
        (_untrusted(), "its certificate is not trusted (self-signed certificate); OTEL_", BROKEN),
        (socket.gaierror(-2, "Name or service not known"), "its name cannot be resolved", RETRIED),
        (ConnectionRefusedError(111, "no"), "nothing listens there", RETRIED),
        (requests.ReadTimeout("x"), "no answer within 10 s", RETRIED),
        (RemoteDisconnected("x"), "it closed the connection without an answer", RETRIED),
        (ConnectionResetError(104, "x"), "it closed the connection without an answer", RETRIED),
        (_ssl_error(ssl.SSLEOFError, "EOF"), "it closed the connection", RETRIED),
        (ValueError("odd"), "ConnectionError: ", RETRIED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_cause_of_network_errors(error: BaseException, expected: str, meaning: str) -> None:
    """The cause is found however deeply the errors are wrapped."""
    text, found = words_of_error(_wrapped(error))
    assert text.startswith(expected)
    assert found == meaning


NO_ADDRESS = "failed to connect to all addresses; last error: "


@pytest.mark.parametrize(
    ("code", "details", "expected", "meaning"),
    [
        (
            "UNAVAILABLE",
            f"{NO_ADDRESS}Trying to connect an http1.x server (HTTP status 400)",
            "this port speaks HTTP, not gRPC; set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
            BROKEN,
        ),
        ("UNAVAILABLE", f"{NO_ADDRESS}Expected SETTINGS frame", "this port speaks HTTP", BROKEN),
        ("UNAVAILABLE", "missing selected ALPN property", "this port speaks HTTP", BROKEN),
        ("UNAVAILABLE", f"{NO_ADDRESS}WRONG_VERSION_NUMBER", "this port does not speak", BROKEN),
        ("UNAVAILABLE", "CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted;", BROKEN),
        ("UNAVAILABLE", f"{NO_ADDRESS}Connection refused", "nothing listens there", RETRIED),
        ("UNAVAILABLE", "DNS resolution failed", "its name cannot be resolved", RETRIED),
        ("UNAVAILABLE", "Socket closed", "it closed the connection", RETRIED),
        ("UNAVAILABLE", "overloaded", "answered UNAVAILABLE: overloaded", RETRIED),
        ("DEADLINE_EXCEEDED", "x", "no answer within 10 s", RETRIED),
        (
            "UNIMPLEMENTED",
            "x",
            "answered UNIMPLEMENTED: it speaks gRPC and takes no traces",
            BROKEN,
        ),
        ("INVALID_ARGUMENT", "odd\nlines", "answered INVALID_ARGUMENT: odd lines", LOST),
    ],
)
def test_cause_of_grpc_codes(code: str, details: str, expected: str, meaning: str) -> None:
    """Most connection errors have the same code; the details distinguish them."""
    text, found = words_of_code(code, details)
    assert text.startswith(expected)
    assert found == meaning


@pytest.mark.parametrize(
    ("endpoint", "protocol", "spoken", "expected"),
    [
        ("http://c:1", "http/protobuf", probing.TLS, "this port speaks TLS; write https://"),
        ("http://c:1", "grpc", probing.TLS_HTTP2, "this port speaks TLS; write https://"),
        ("https://c:1", "grpc", probing.HTTP2, "this port does not speak TLS; write http://"),
        ("https://c:1", "http/protobuf", probing.HTTP1, "this port does not speak TLS"),
        ("https://c:1", "http/protobuf", probing.TLS_HTTP2, "this port speaks gRPC, not HTTP"),
        ("http://c:1", "http/protobuf", probing.HTTP2, "this port speaks gRPC, not HTTP"),
        ("http://c:1", "grpc", probing.HTTP1, "this port speaks HTTP, not gRPC"),
        ("c:1", "grpc", probing.HTTP1, "this port does not speak TLS"),
        ("http://c:1", "grpc", probing.HTTP2, "it closed the connection without an answer"),
        ("https://c", "http/protobuf", probing.TLS, "it closed the connection without an answer"),
    ],
)
def test_cause_of_closed_connection_is_found_by_a_probe(
    endpoint: str, protocol: str, spoken: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The port may speak another protocol; any port may."""
    monkeypatch.setattr(probing, "protocol_at", lambda *_: spoken)
    environ = {ENDPOINT: endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    reset = ConnectionResetError(104, "x")
    if protocol == "grpc":
        text, _ = words_of_code("UNAVAILABLE", "Socket closed", **environ)
    else:
        text, _ = words_of_error(reset, **environ)
    assert text.startswith(expected)


def test_cause_contains_no_value_of_a_header() -> None:
    """Some servers and libraries repeat the headers that they got."""
    details = "bad header: s3cret-key\nat https://u:p@h/?key=k " + "x" * 1000
    text, _ = words_of_code("INTERNAL", details, **{HEADERS: "api-key=s3cret-key"})
    assert text.startswith("answered INTERNAL: bad header: *** at https://***@h/?*** xxx")
    assert len(text) < 300


def test_cause_without_facts_is_the_logged_text() -> None:
    """Without facts the SDK's text is shown; without a text there is no answer yet."""
    sent = export_call()
    assert causes.cause_of(sent) == ("no answer yet", RETRIED)
    sent.text = "odd\nnews"
    assert causes.cause_of(sent) == ("odd news", RETRIED)


@pytest.fixture
def port() -> Iterator[tuple[int, list[bytes]]]:
    """A server that sends the first of the given texts to each client, and closes."""
    texts: list[bytes] = [b""]
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        thread = threading.Thread(target=_serve, args=(server, texts), daemon=True)
        thread.start()
        yield server.getsockname()[1], texts
        server.shutdown(socket.SHUT_RDWR)
    thread.join(60)


def _serve(server: socket.socket, texts: list[bytes]) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.recv(1000)
            connection.sendall(texts[0])


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", probing.HTTP1),
        (b"\0\0\6\4\0\0\0\0\0\0\5\0\0\x40\0", probing.HTTP2),
        (b"\x15\3\3\0\2\2\x28", probing.TLS),  # a handshake that was refused
        (b"SSH-2.0-OpenSSH\r\n", ""),
        (b"", ""),
    ],
)
def test_probe_of_a_port_finds_its_protocol(
    port: tuple[int, list[bytes]],
    text: bytes,
    spoken: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first bytes decide; the result is kept for a minute."""
    monkeypatch.undo()
    probing.forget()
    number, texts = port
    texts[0] = text
    assert probing.protocol_at("127.0.0.1", number) == spoken
    texts[0] = b"something else"
    assert probing.protocol_at("127.0.0.1", number) == spoken


def test_probe_with_a_proxy_connects_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe would not see what the exporter sees. A closed port gives no result."""
    monkeypatch.undo()
    probing.forget()
    assert probing.protocol_at("127.0.0.1", 1) == ""
    monkeypatch.setattr(probing, "getproxies", lambda: {"http": "http://proxy"})
    monkeypatch.setattr(socket, "create_connection", None)
    assert probing.protocol_at("127.0.0.1", 2) == ""
