"""What commands write where: notes, pipes that are closed, looks that fail while one watches."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.cli.queues import queues_command
from tests.cli.queue_commands import TRACEPARENT, Command, body, fill_celery, fill_dramatiq
from tests.environment import clean_environment

if TYPE_CHECKING:
    from pathlib import Path


def test_empty_answer_is_a_note_and_no_error(redis: Any, celery: Command) -> None:
    """Exit code 0, nothing on stdout; `--quiet` leaves the note out."""
    fill_celery(redis, "a")
    done = celery("peek", "orders", "--task", "none")
    assert (done.code, done.out) == (0, "")
    assert done.err == "otel-queue: no ready message in orders is one of these\n"
    assert celery("peek", "orders", "--task", "none", "--quiet").err == ""


def test_places_that_were_not_looked_at_are_notes(redis: Any, celery: Command) -> None:
    """Of a message that was not found."""
    fill_celery(redis, "a")
    done = celery("show", "zz")
    assert done.code == 1
    assert [line for line in done.err.splitlines() if "not looked at: orders, dead" in line]
    assert len(celery("show", "zz", "--quiet").err.splitlines()) == 1


def test_what_stays_is_said_before_a_purge(redis: Any, celery: Command) -> None:
    """Also in a dry run."""
    fill_celery(redis, "a")
    redis.hset("unacked", "t", json.dumps([{"headers": {}}, "", "orders"]))
    redis.zadd("unacked_index", {"t": 1000.0})
    for options in (["--dry-run"], ["--yes"]):
        assert "will run" in celery("purge", "orders", *options).err


def test_message_of_the_future_says_when_it_is_due(redis: Any, celery: Command) -> None:
    """And one whose trace nobody keeps says so."""
    headers = {"task": "charge", "id": "a1", "eta": "2999-01-01T00:00:00+00:00"}
    unsampled = TRACEPARENT.removesuffix("01") + "00"
    redis.lpush("orders", json.dumps({"headers": {**headers, "traceparent": unsampled}}))
    redis.lpush("orders", json.dumps({"headers": {"task": "charge", "id": "a2"}}))
    out = celery("peek", "orders").out
    assert "(not sampled)" in out
    assert "due in " in out
    assert "trace not traced" not in out
    assert "not traced" in celery("show", "a2").out


def test_several_messages_are_shown_one_after_the_other(redis: Any, dramatiq: Command) -> None:
    """With a blank line between."""
    fill_dramatiq(redis, "a1", "a2", priority=None, note=["x", {"args": ["card 4711"]}])
    done = dramatiq("show", "a", "--args")
    assert "\n\n" in done.out
    assert done.out.count("charge a") == 2
    assert "card 4711" not in dramatiq("show", "a").out


def test_commands_that_are_shown_have_the_options_of_the_url(redis: Any, dramatiq: Command) -> None:
    """So that they can be run as they are, but for the password."""
    fill_dramatiq(redis, "a1")
    done = dramatiq("show", "a1", "--json", "--namespace", "shop", "--queue", "orders")
    command = done.document["messages"][0]["actions"][0]["command"]
    assert command == (
        "otel-queue show a1 --url redis://localhost/0 --framework dramatiq "
        "--namespace shop --queue orders --copy"
    )


def test_watch_goes_on_while_the_broker_is_away(
    redis: Any, celery: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shows the failure instead of numbers that are old; the first look has to succeed."""
    fill_celery(redis, "a")
    states, looks = QueueReader.states, 0

    def failing(self: QueueReader, *arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise BrokerError("redis://localhost/0: gone")
        return states(self, *arguments)

    def sleep(_seconds: float) -> None:
        if looks == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(QueueReader, "states", failing)
    monkeypatch.setattr(queues_command.time, "sleep", sleep)
    done = celery("queues", "--watch", "1")
    assert done.code == 0
    assert looks == 3
    looks = 1
    assert celery("queues", "--watch", "1").code == 3


def test_wide_name_gives_way_in_a_terminal_alone(
    redis: Any, celery: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal has 80 columns; a file has the whole name."""
    name = "orders-of-a-shop-with-a-very-long-name-" * 2
    fill_celery(redis, "a", queue=name)
    assert name in celery("queues", "--queue", name).out

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    for variable, value in {"TERM": "dumb", "COLUMNS": "80", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(sys, "stdout", terminal)
    celery("queues", "--queue", name, "--quiet")
    lines = terminal.getvalue().splitlines()
    assert name not in terminal.getvalue()
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_reader_of_stdout_may_stop_reading(tmp_path: Path, form: list[str]) -> None:
    """As `head` does: no traceback, exit code 0."""
    (tmp_path / "stub_of_pipe.py").write_text(
        "import dramatiq\n"
        "from dramatiq.brokers.stub import StubBroker\n"
        "broker = StubBroker()\n"
        "for number in range(50): broker.declare_queue(f'q{number}')\n"
        "dramatiq.set_broker(broker)\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "otel_queue_plugins.cli.main",
            "queues",
            "-B",
            "stub_of_pipe",
            *form,
        ],
        env=clean_environment(),
        cwd=tmp_path,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_user_without_a_name_is_left_out(
    redis: Any, celery: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container the user id may have none."""

    def nobody() -> str:
        raise KeyError("uid 1234")

    monkeypatch.setattr("getpass.getuser", nobody)
    fill_celery(redis, "a")
    assert celery("purge", "orders", "--yes", "--json").document["done"] == 1


def test_age_is_shown_in_two_units_at_most(redis: Any, dramatiq: Command) -> None:
    """Whatever its size."""
    fill_dramatiq(redis, "a1")
    row = dramatiq("queues").out.splitlines()[1]
    days = int(time.time() - 1) // 86400
    assert f"{days} d" in row


def test_arguments_are_shown_redacted(redis: Any, dramatiq: Command) -> None:
    """By what they say, and by what their name says; as text and as JSON, headers too."""
    sent = ["password=hunter2", {"api_key": "k1ller", "size": 7}]
    stored = json.dumps({**json.loads(body("a1", note="token=abc9")), "args": sent})
    redis.rpush("dramatiq:orders", "key-a1")
    redis.hset("dramatiq:orders.msgs", "key-a1", stored)
    for done in (
        dramatiq("show", "a1", "--args"),
        dramatiq("show", "a1", "--args", "--json"),
        dramatiq("peek", "orders", "--args"),
        dramatiq("peek", "orders", "--args", "--json"),
    ):
        assert "password=[redacted:credentials]" in done.out
        assert not [each for each in ("hunter2", "k1ller", "abc9") if each in done.out]
        assert "size" in done.out
        assert "7" in done.out
