"""The server: methods, paths, bounds."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from otel_queue_plugins.core.settings.kinds import HostPort
from otel_queue_plugins.sdk.config.serving import Place
from otel_queue_plugins.worker_http import answers, listening
from otel_queue_plugins.worker_http.answers import Answers
from otel_queue_plugins.worker_http.listening import Listening
from otel_queue_plugins.worker_http.server import Server
from tests.http_client import Client
from tests.services import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator


def failing(_accept: str) -> answers.Answer:
    """A path that cannot be answered."""
    raise ValueError("secret")


PATHS = Answers(
    {
        "/stats": answers.document(lambda: {"a": 1}),
        "/early": answers.document(lambda: None),
        "/fail": failing,
        "/livez": answers.probe(lambda: None, "live"),
        "/readyz": answers.probe(lambda: "away", "ready"),
    }
)


@pytest.fixture
def client() -> Iterator[Client]:
    """A client of a server in this process."""
    server = Server(HostPort("127.0.0.1", 0), PATHS)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield Client(server.server_port)
    server.close()
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/stats", 200, '{\n "a": 1\n}\n'),
        ("/early", 503, "not captured yet\n"),
        ("/livez", 200, "live\n"),
        ("/readyz", 503, "away\n"),
        ("/livez?x=1", 400, "/livez takes no arguments\n"),
        ("/", 404, "there are /stats, /early, /fail, /livez, /readyz\n"),
        ("/fail", 500, "see the log of the worker\n"),
    ],
)
def test_path_answers(client: Client, path: str, status: int, body: str) -> None:
    """Each reason is one line of text, and nothing of an exception leaves the process."""
    reply = client.get(path)
    assert (reply.status, reply.body) == (status, body)
    assert reply.headers["Server"].strip() == "otel-queue"


def test_head_has_the_headers_of_get_and_no_body(client: Client) -> None:
    """The length is that of the body."""
    reply = client.get("/stats", method="HEAD")
    assert (reply.status, reply.body) == (200, "")
    assert reply.headers["Content-Length"] == str(len(client.get("/stats").body))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_405(client: Client, method: str) -> None:
    """With those that are allowed; whatever the path."""
    reply = client.get("/stats", method=method)
    assert reply.status == 405
    assert reply.headers["Allow"] == "GET, HEAD"


def test_body_of_a_refused_request_is_read(client: Client) -> None:
    """Its sender gets the answer and no reset."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        connection.sendall(b"POST / HTTP/1.0\r\nContent-Length: 30000\r\n\r\n" + b"x" * 30000)
        assert connection.recv(100).startswith(b"HTTP/1.0 405 ")


@pytest.mark.parametrize("line", [b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n"])
def test_what_is_no_http_gets_an_answer_or_the_end(client: Client, line: bytes) -> None:
    """And the server goes on."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        connection.sendall(line)
        assert b"<" not in connection.recv(1000)
    assert client.get("/livez").status == 200


def test_ninth_request_at_once_is_refused_and_slow_ones_end(client: Client) -> None:
    """Eight connections that send a byte now and then hold their places for a second only."""
    slow = [socket.create_connection(("127.0.0.1", client.port), timeout=30) for _ in range(8)]
    for each in slow:
        each.sendall(b"GET /st")
    client.until("/livez", 503)
    assert "8 requests are being answered" in client.get("/livez").body
    began = time.monotonic()
    client.until("/livez", 200, timeout=30)
    assert time.monotonic() - began < 15
    for each in slow:
        each.close()


def test_forked_child_does_not_keep_the_port() -> None:
    """The socket is closed in the child and stays open here."""
    port = free_port()
    place = Place(HostPort("127.0.0.1", port), "OTEL_QUEUE_HTTP")
    served = Listening(place, PATHS, has_siblings=False)
    served.start()
    Client(port).until("/livez", 200)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(reading, 1)
        os._exit(0)
    try:
        assert Client(port).get("/livez").status == 200
        served.close()
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", port))
    finally:
        os.write(writing, b".")
        os.waitpid(pid, 0)
        os.close(reading)
        os.close(writing)


def test_taken_port_is_logged_once_and_taken_when_it_is_free(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the variable, the address and what to do."""
    monkeypatch.setattr(listening, "_SECONDS_BETWEEN_TRIES", 0.05)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        place = Place(HostPort("127.0.0.1", port), "OTEL_QUEUE_HTTP")
        served = Listening(place, PATHS, has_siblings=False)
        served.start()
        deadline = time.monotonic() + 30
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.01)
    Client(port).until("/livez", 200)
    served.close()
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert f"OTEL_QUEUE_HTTP: the worker cannot listen at 127.0.0.1:{port} (" in record.message
