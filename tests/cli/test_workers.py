"""`otel-queue workers` over HTTP, and what it makes of answers through a broker."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from otel_queue_plugins.cli.main import main
from otel_queue_plugins.cli.workers import asking

if TYPE_CHECKING:
    from collections.abc import Iterator

STATS = {
    "worker": "shop@host",
    "framework": "celery",
    "versions": {"otel_queue_plugins": "0.1.0", "celery": "5.7.0"},
    "pool": "prefork",
    "capacity": 4,
    "in_flight": {"pay": 2, "ship": 1},
    "reserved": 7,
    "scheduled": 5,
    "longest_running_s": 125.0,
    "processed": {"success": 40},
    "retries": 1,
    "dead_letters": 0,
    "telemetry": {"exported": 82, "dropped": {"queue_full": 3}, "endpoint": None},
    "captured_at": "2026-11-27T10:00:00Z",
    "unknown": {},
}


@contextmanager
def serving(body: bytes, status: int = 200) -> Iterator[int]:
    """The port of a server that answers so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_row_has_what_the_worker_says(capsys: pytest.CaptureFixture[str]) -> None:
    """Sums over tasks and reasons, and an age that people read."""
    with serving(json.dumps(STATS).encode()) as port:
        assert main(["workers", "--http", str(port)]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split()[0] == "WORKER"
    assert row.split() == [
        *("shop@host", "0.1.0", "celery", "5.7.0", "prefork"),
        *("4", "3", "7", "5", "2", "m", "05", "s", "82", "3"),
    ]


def test_json_has_the_objects_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    """In the order in which they were named."""
    other = {**STATS, "worker": "other"}
    with (
        serving(json.dumps(STATS).encode()) as first,
        serving(json.dumps(other).encode()) as second,
    ):
        code = main(["workers", "--http", str(second), "--http", f"localhost:{first}", "--json"])
    assert code == 0
    assert json.loads(capsys.readouterr().out) == {"workers": [other, STATS]}


def test_value_that_is_not_known_has_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """Once for all that it is the reason of."""
    stats = {
        **STATS,
        "processed": None,
        "retries": None,
        "capacity": None,
        "unknown": {"processed": "why", "retries": "why", "capacity": "not yet"},
    }
    with serving(json.dumps(stats).encode()) as port:
        assert main(["workers", "--http", str(port)]) == 0
    out, err = capsys.readouterr()
    assert "?" in out
    assert "shop@host: why (processed, retries)" in err
    assert "shop@host: not yet (capacity)" in err


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"hello", 200), (b"[]", 200), (b"{}", 200), (b"not captured yet", 503), (b"", 404)],
)
def test_what_is_no_worker_is_one_line(
    body: bytes, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the place, and what to look at."""
    with serving(body, status) as port:
        assert main(["workers", "--http", str(port)]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert f"127.0.0.1:{port}" in line
    assert "OTEL_QUEUE_HTTP" in line


@pytest.mark.parametrize(
    "arguments", [[], ["--http", "x"], ["--http", "1", "-A", "a"], ["--url", "redis"]]
)
def test_wrong_arguments_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line."""
    with pytest.raises(SystemExit) as ended:
        main(["workers", *arguments])
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


class FakeControl:
    """The remote control of an app with two workers, one of which has this package."""

    def __init__(self, *, fails: bool = False) -> None:
        self._fails = fails

    def broadcast(self, command: str, **_options: Any) -> list[dict[str, Any]]:
        if self._fails:
            raise OSError("reset by peer")
        if command == "ping":
            return [{"a@h": {"ok": "pong"}}, {"b@h": {"ok": "pong"}}]
        return [{"b@h": STATS}, {"a@h": {"error": "unknown command"}}]


class FakeApp:
    """An app that has a broker."""

    def __init__(self, *, fails: bool = False) -> None:
        self.control = FakeControl(fails=fails)

    @contextmanager
    def connection_for_write(self, **_options: Any) -> Iterator[None]:
        yield


def test_worker_without_this_package_is_known_by_its_name() -> None:
    """And all else with the reason."""
    first, second = asking.of_celery(FakeApp(), 5)
    assert second == STATS
    assert first["worker"] == "a@h"
    assert first["capacity"] is first["telemetry"] is None
    assert set(first) == {*STATS}
    assert {*first["unknown"].values()} == {"the worker does not run otel_queue_plugins"}


def test_broker_that_fails_is_a_broker_error() -> None:
    """Whatever its client raises."""
    with pytest.raises(asking.BrokerError, match="reset by peer"):
        asking.of_celery(FakeApp(fails=True), 5)
