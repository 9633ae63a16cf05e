"""`otel-queue peek` and `otel-queue show`."""

from __future__ import annotations

import io
import json
import sys
import webbrowser
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.queue_commands import (
    SPAN_ID,
    TRACE_ID,
    Command,
    fill_celery,
    fill_dramatiq,
    kill,
)

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {
    *("id", "task", "queue", "state", "attempt", "max_attempts", "enqueued_at", "eta"),
    *("expires_at", "age_s", "priority", "size_bytes", "trace_id", "span_id", "sampled"),
    *("trace_url", "baggage", "workflow"),
}
JAEGER = "http://jaeger:16686"


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of the trace of every message."""
    monkeypatch.setenv("OTEL_QUEUE_TRACE_URL", f"jaeger:{JAEGER}")
    return f"{JAEGER}/trace/{TRACE_ID:032x}"


def test_document_of_peek_has_the_keys_of_the_contract(
    redis: Any, celery: Command, backend: str
) -> None:
    """Oldest first, with the trace and its URL; nothing is taken away."""
    fill_celery(redis, "first", "second", "third")
    done = celery("peek", "orders", "--json", "-n", "2")
    assert (done.code, done.err) == (0, "")
    assert set(done.document) == {"messages"}
    rows = done.document["messages"]
    assert [row["id"] for row in rows] == ["first", "second"]
    assert set(rows[0]) == KEYS
    assert (rows[0]["trace_id"], rows[0]["span_id"]) == (f"{TRACE_ID:032x}", f"{SPAN_ID:016x}")
    assert rows[0]["trace_url"] == backend
    assert rows[0]["sampled"] is True
    assert redis.llen("orders") == 3


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--task", "ch*"], ["a1", "a2"]),
        (["--task", "other"], []),
        (["--id", "a2"], ["a2"]),
        (["--older-than", "1d"], ["a1", "a2"]),
        (["--state", "dead"], ["d1"]),
    ],
)
def test_peek_shows_what_is_chosen(
    redis: Any, dramatiq: Command, options: list[str], found: list[str]
) -> None:
    """By task, id, age and state."""
    fill_dramatiq(redis, "a1", "a2")
    kill(redis, "d1")
    done = dramatiq("peek", "orders", "--json", *options)
    assert [row["id"] for row in done.document["messages"]] == found


@pytest.mark.parametrize("command", [["peek", "orders"], ["show", "a1"]])
@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.parametrize("framework", ["celery", "dramatiq"])
def test_arguments_are_shown_only_if_they_are_asked_for(
    redis: Any,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    form: list[str],
    framework: str,
) -> None:
    """Also those of messages that a message carries for later."""
    fill_celery(redis, "a1")
    later = {"actor_name": "notify", "args": ["card 4711"], "kwargs": {}}
    fill_dramatiq(redis, "a1", pipe_target=later)
    run = Command(capsys, framework)
    assert "4711" not in run(*command, *form).out
    assert "4711" in run(*command, *form, "--args").out


def test_text_of_peek_has_two_lines_for_a_message(
    redis: Any, celery: Command, backend: str
) -> None:
    """Task, id, age and attempt, then the trace with its URL where there is no terminal."""
    identity = "7f3c9d4e-1111-2222-3333-444455556666"
    fill_celery(redis, identity)
    heading, first, second = celery("peek", "orders").out.splitlines()
    assert heading.split() == ["TASK", "ID", "AGE", "ATTEMPT"]
    assert first.split() == ["charge", identity, "?", "1/4"]
    assert second.split() == ["trace", f"{TRACE_ID:032x}", backend]
    assert "\x1b" not in first + second


def test_terminal_gets_a_link_and_no_url(
    redis: Any, celery: Command, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In 80 columns; without colours where NO_COLOR is set."""
    fill_celery(redis, "7f3c9d4e-1111-2222-3333-444455556666", task="shop.tasks.orders.charge")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for name, value in {"TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert celery("peek", "orders").code == 0
    text = terminal.getvalue()
    assert f";{backend}\x1b\\" in text
    assert "\x1b[31m" not in text
    shown = [line for line in text.splitlines() if "\x1b]8" not in line]
    assert all(len(line.replace("\x1b[2m", "").replace("\x1b[0m", "")) <= 90 for line in shown)


def test_show_finds_a_message_in_every_state_by_the_beginning_of_its_id(
    redis: Any, dramatiq: Command, backend: str
) -> None:
    """With the actions for its trace; the command that is shown has no password."""
    fill_dramatiq(redis, "ready-1")
    kill(redis, "dead-1", retries=3, traceback="Traceback\n  ValueError: no")
    for prefix, state in (("ready", "ready"), ("dead", "dead")):
        done = dramatiq("show", prefix, "--json")
        (row,) = done.document["messages"]
        assert set(row) == KEYS | {"actions"}
        assert row["state"] == state
        assert [action["name"] for action in row["actions"]] == ["copy", "open", "view"]
        assert all(set(each) == {"name", "label", "command", "url"} for each in row["actions"])
        assert row["actions"][1]["url"] == backend
        assert (
            f"otel-queue show {state}-1 --url redis://localhost/0" in row["actions"][0]["command"]
        )
    text = dramatiq("show", "dead").out
    assert "attempt     4/4" in text
    assert "ValueError: no" in text
    assert backend in text


def test_show_of_an_unknown_id_exits_1(redis: Any, dramatiq: Command) -> None:
    """With one line on stderr that says where it looked."""
    fill_dramatiq(redis, "a1")
    done = dramatiq("show", "zz", "--json")
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[-1].startswith("otel-queue: no message has an id")
    assert "redis://localhost/0" in done.err


def test_open_starts_a_browser_with_the_trace(
    redis: Any, celery: Command, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1 without a URL; 2 where the beginning of the id is that of two traces."""
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    fill_celery(redis, "a1")
    assert celery("show", "a1", "--open").code == 0
    assert opened == [backend]
    untraced = {"headers": {"task": "charge", "id": "a2"}}
    redis.lpush("orders", json.dumps(untraced))
    assert celery("show", "a", "--open").code == 2
    assert celery("show", "a2", "--open").code == 1
    monkeypatch.delenv("OTEL_QUEUE_TRACE_URL")
    done = celery("show", "a1", "--open")
    assert done.code == 1
    assert "OTEL_QUEUE_TRACE_URL" in done.err
    assert len(opened) == 1


def test_copy_asks_the_terminal_to_take_the_trace_id(
    redis: Any, celery: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal it is wrong usage."""
    fill_celery(redis, "a1")
    assert celery("show", "a1", "--copy").code == 2

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert celery("show", "a1", "--copy").code == 0
    assert "\x1b]52;c;" in terminal.getvalue()


def test_peek_in_memory_of_an_app_is_that_of_celery(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-A` finds an app in the current directory; what its module prints is not on stdout."""
    (tmp_path / "shop_of_cli.py").write_text(
        "from celery import Celery\n"
        "print('imported')\n"
        "app = Celery('shop', broker='memory://', set_as_current=False)\n"
        "app.conf.task_default_queue = 'cli-orders'\n"
        "sent = app.send_task('charge', (1,)).id\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    run = Command(capsys, "celery")
    done = run.bare("peek", "cli-orders", "--json", "-A", "shop_of_cli")
    assert done.code == 0
    assert [row["task"] for row in done.document["messages"]] == ["charge"]
    rows = run.bare("queues", "--json", "-A", "shop_of_cli:app").document["queues"]
    assert {row["name"]: row["ready"] for row in rows}["cli-orders"] == 1
    assert run.bare("purge", "cli-orders", "--yes", "--json", "-A", "shop_of_cli").code == 0


def test_broker_of_dramatiq_is_found_by_its_module(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-B` as the command `dramatiq` does: an attribute, a function that sets it up, the global."""
    (tmp_path / "stub_of_cli.py").write_text(
        "import dramatiq\n"
        "from dramatiq.brokers.stub import StubBroker\n"
        "broker = StubBroker()\n"
        "def setup(): dramatiq.set_broker(broker)\n"
        "charge = dramatiq.actor(lambda: None, actor_name='charge', broker=broker,"
        " queue_name='orders')\n"
        "charge.send()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    run = Command(capsys, "dramatiq")
    for name in ("stub_of_cli:broker", "stub_of_cli:setup", "stub_of_cli"):
        done = run.bare("queues", "--json", "-B", name)
        assert [(row["name"], row["ready"]) for row in done.document["queues"]] == [("orders", 1)]
