"""Where RabbitMQ's management API is looked for, and that no password goes to another server."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.cli.queues import access, management
from tests.cli.queue_commands import Command
from tests.services import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator


class Server:
    """Answers as RabbitMQ does to who has no password, or as another server."""

    def __init__(self, realm: str) -> None:
        self.asked: list[dict[str, str]] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append({key.lower(): value for key, value in self.headers.items()})
                self.send_response(401)
                self.send_header("WWW-Authenticate", f'Basic realm="{realm}"')
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                """Be quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        """Stop."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture(params=["RabbitMQ Management", "a router"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[Server, bool]]:
    """Whether it is RabbitMQ's is the second."""
    made = Server(request.param)
    yield made, request.param.startswith("RabbitMQ")
    made.close()


def test_api_beside_the_broker_is_used_if_it_is_that_of_rabbitmq(
    server: tuple[Server, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked without a password."""
    api, is_rabbitmq = server
    monkeypatch.setattr(management, "PORTS", {"amqp": ("http", api.port)})
    found = management.derived("amqp://guest@127.0.0.1:5672/", 1.0)
    assert found == (f"http://127.0.0.1:{api.port}" if is_rabbitmq else None)
    assert len(api.asked) == 1
    assert "authorization" not in api.asked[0]


def test_ports_are_those_of_rabbitmq() -> None:
    """With TLS where the broker has it."""
    assert management.PORTS == {"amqp": ("http", 15672), "amqps": ("https", 15671)}


def test_port_that_does_not_answer_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, and hanging."""
    monkeypatch.setattr(management, "PORTS", {"amqp": ("http", free_port())})
    assert management.derived("amqp://127.0.0.1/", 1.0) is None
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()
        monkeypatch.setattr(management, "PORTS", {"amqp": ("http", hanging.getsockname()[1])})
        assert management.derived("amqp://127.0.0.1/", 0.1) is None


@pytest.mark.parametrize(
    ("host", "url"),
    [("[::1]:5672", "http://[::1]:15672"), ("rabbit", "http://rabbit:15672")],
)
def test_url_has_the_host_of_the_broker(
    host: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one in brackets."""
    monkeypatch.setattr(management, "_answers", lambda *_, **__: True)
    assert management.derived(f"amqp://{host}/vhost", 1.0) == url


def test_command_asks_the_api_that_it_has_derived(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the one that is named, without deriving any."""
    asked: list[str | None] = []
    real = access.reader_of_url

    def made(*arguments: Any, management_url: str | None, **options: Any) -> QueueReader:
        asked.append(management_url)
        return real(*arguments, management_url=management_url, **options)

    monkeypatch.setattr(access, "reader_of_url", made)
    monkeypatch.setattr(management, "derived", lambda *_: "http://127.0.0.1:1")
    place = ["--url", f"amqp://127.0.0.1:{free_port()}", "--framework", "celery"]
    run = Command(capsys, "celery")
    assert run.bare("queues", "--queue", "q", *place).code == 3
    assert run.bare("queues", "--queue", "q", "--management-url", "http://x", *place).code == 3
    assert asked == [None, "http://127.0.0.1:1", "http://x"]
