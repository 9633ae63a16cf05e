"""`otel-queue requeue` and `otel-queue purge`: what they ask, change, report and record."""

from __future__ import annotations

import io
import json
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.cli.queues import access
from tests.cli.queue_commands import (
    SPAN_ID,
    Command,
    fill_celery,
    fill_dramatiq,
    kill,
)

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

RESULT = {"queue", "state", "matched", "done", "trace_id"}


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> Terminal:
    """Let a user type `text`; what is asked."""
    asked = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(text))
    monkeypatch.setattr(sys, "stderr", asked)
    return asked


@pytest.mark.parametrize("command", ["requeue", "purge"])
def test_change_without_terminal_and_without_yes_is_refused(
    redis: Any, dramatiq: Command, command: str
) -> None:
    """Exit code 4, the number on stderr, nothing on stdout, and nothing is changed."""
    fill_dramatiq(redis, "a")
    kill(redis, "d")
    done = dramatiq(command, "orders", "--json")
    assert (done.code, done.out) == (4, "")
    assert "--yes" in done.err
    assert "1 " in done.err
    assert (redis.llen("dramatiq:orders"), redis.zcard("dramatiq:orders.XQ")) == (1, 1)


@pytest.mark.parametrize(("typed", "code", "left"), [("y\n", 0, 0), ("n\n", 4, 2), ("", 4, 2)])
def test_user_is_asked_with_the_number(
    redis: Any,
    dramatiq: Command,
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    code: int,
    left: int,
) -> None:
    """Everything but a yes is a no."""
    fill_dramatiq(redis, "a", "b")
    asked = answer(monkeypatch, typed)
    assert dramatiq("purge", "orders").code == code
    assert "Purge 2 ready messages of orders? [y/N]" in asked.getvalue()
    assert redis.llen("dramatiq:orders") == left


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("command", ["requeue", "purge"])
def test_dry_run_says_the_number_and_changes_nothing(
    redis: Any,
    dramatiq: Command,
    span_exporter: InMemorySpanExporter,
    command: str,
) -> None:
    """It asks nothing and is no span."""
    fill_dramatiq(redis, "a")
    kill(redis, "d")
    done = dramatiq(command, "orders", "--dry-run", "--json")
    assert done.code == 0
    assert set(done.document) == RESULT
    assert (done.document["matched"], done.document["done"]) == (1, 0)
    assert f"would {command} 1 " in dramatiq(command, "orders", "--dry-run").out
    assert (redis.llen("dramatiq:orders"), redis.zcard("dramatiq:orders.XQ")) == (1, 1)
    assert span_exporter.get_finished_spans() == ()


@pytest.mark.usefixtures("recorded")
def test_requeue_moves_dead_letters_oldest_first_and_is_a_span(
    redis: Any,
    dramatiq: Command,
    span_exporter: InMemorySpanExporter,
) -> None:
    """The span has who did what to how many, and links to their sends; they carry a link to it."""
    kill(redis, *[f"d{n:02}" for n in range(30)], retries=3)
    done = dramatiq("requeue", "orders", "--yes", "--json")
    assert done.code == 0
    assert set(done.document) == RESULT
    assert (done.document["matched"], done.document["done"]) == (30, 30)
    (span,) = span_exporter.get_finished_spans()
    assert (span.name, span.kind) == ("requeue orders", SpanKind.CLIENT)
    attributes = dict(span.attributes or {})
    assert attributes.pop("taskqueue.admin.user")
    assert attributes == {
        "taskqueue.admin.operation": "requeue",
        "taskqueue.admin.state": "dead",
        "taskqueue.admin.matched": 30,
        "taskqueue.admin.changed": 30,
        "messaging.system": "redis",
        "messaging.destination.name": "orders",
        "taskqueue.framework": "dramatiq",
    }
    assert [link.context.span_id for link in span.links] == [SPAN_ID] * 20
    assert done.document["trace_id"] == f"{span.context.trace_id:032x}"
    keys = redis.lrange("dramatiq:orders", 0, -1)
    moved = [json.loads(redis.hget("dramatiq:orders.msgs", key)) for key in keys]
    assert [each["message_id"] for each in moved] == [f"d{n:02}" for n in range(30)]
    assert all("retries" not in each["options"] for each in moved)
    carried = moved[0]["options"]["otel"]["otq"]
    assert f"{span.context.span_id:016x}" in carried


def test_requeue_of_chosen_dead_letters_leaves_the_others(redis: Any, dramatiq: Command) -> None:
    """By task and by id."""
    kill(redis, "d1", "d2")
    kill(redis, "e1", task="other")
    assert dramatiq("requeue", "orders", "--yes", "--task", "other", "--json").document["done"] == 1
    assert dramatiq("requeue", "orders", "--yes", "--id", "d2", "--json").document["done"] == 1
    assert redis.zrange("dramatiq:orders.XQ", 0, -1) == [b"key-d1"]


@pytest.mark.usefixtures("redis")
def test_requeue_without_dead_letters_has_nothing_to_do(dramatiq: Command) -> None:
    """It asks nothing."""
    done = dramatiq("requeue", "orders")
    assert (done.code, done.out) == (0, "nothing to do\n")


def test_requeue_where_the_framework_keeps_no_dead_letters_is_refused(
    redis: Any, celery: Command
) -> None:
    """Exit code 4 with the reason."""
    fill_celery(redis, "a")
    done = celery("requeue", "orders", "--yes")
    assert (done.code, done.out) == (4, "")
    assert "dead letters" in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.usefixtures("recorded")
def test_requeue_of_messages_that_cannot_be_opened_is_refused(
    redis: Any, dramatiq: Command
) -> None:
    """Exit code 4 if none could be moved, 1 if some were left."""
    redis.zadd("dramatiq:orders.XQ", {"raw": 1.0})
    redis.hset("dramatiq:orders.XQ.msgs", "raw", b"\x80pickled")
    done = dramatiq("requeue", "orders", "--yes", "--json")
    assert (done.code, done.out) == (4, "")
    assert "not JSON" in done.err
    kill(redis, "d1")
    done = dramatiq("requeue", "orders", "--yes", "--json")
    assert done.code == 1
    assert (done.document["matched"], done.document["done"]) == (2, 1)
    assert "1 left" in done.err


@pytest.mark.usefixtures("recorded")
def test_purge_and_undo_of_chosen_messages(
    redis: Any,
    celery: Command,
    span_exporter: InMemorySpanExporter,
) -> None:
    """Both are spans; undo brings back as many as were purged."""
    fill_celery(redis, "a1", "a2")
    fill_celery(redis, "b1", task="other")
    done = celery("purge", "orders", "--task", "charge", "--yes", "--json")
    assert (done.document["matched"], done.document["done"]) == (2, 2)
    assert redis.llen("orders") == 1
    undone = celery("purge", "orders", "--undo", "--yes", "--json")
    assert set(undone.document) == RESULT
    assert undone.document["done"] == 2
    assert redis.llen("orders") == 3
    purge, undo = span_exporter.get_finished_spans()
    assert [span.name for span in (purge, undo)] == ["purge orders", "purge orders"]
    operations = [
        dict(span.attributes or {})["taskqueue.admin.operation"] for span in (purge, undo)
    ]
    assert operations == ["purge", "undo"]
    assert len(purge.links) == 2


@pytest.mark.usefixtures("recorded")
def test_trace_of_a_change_is_named_with_its_url(
    redis: Any, celery: Command, span_exporter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that who has done it can hand it on."""
    monkeypatch.setenv("OTEL_QUEUE_TRACE_URL", "jaeger:http://jaeger")
    fill_celery(redis, "a1")
    done = celery("purge", "orders", "--yes")
    (span,) = span_exporter.get_finished_spans()
    trace_id = f"{span.context.trace_id:032x}"
    assert done.err.endswith(f"trace {trace_id} http://jaeger/trace/{trace_id}\n")


@pytest.mark.usefixtures("recorded")
def test_purge_of_all_links_to_the_oldest_messages(
    redis: Any,
    celery: Command,
    span_exporter: InMemorySpanExporter,
) -> None:
    """At most 20 of them, for all go at once."""
    fill_celery(redis, *[f"a{n}" for n in range(25)])
    assert celery("purge", "orders", "--yes").out == "purged 25 ready messages of orders\n"
    (span,) = span_exporter.get_finished_spans()
    assert len(span.links) == 20


@pytest.mark.usefixtures("redis")
def test_undo_without_a_purge_is_refused(celery: Command) -> None:
    """Exit code 4; and with a choice it is wrong usage."""
    assert celery("purge", "orders", "--undo", "--yes").code == 4
    assert celery("purge", "orders", "--undo", "--task", "x", "--yes").code == 2
    assert celery("purge", "orders", "--undo").code == 4


@pytest.mark.usefixtures("recorded")
def test_rate_bounds_how_fast_messages_are_moved(redis: Any, dramatiq: Command) -> None:
    """Waiting for the next one is progress: the time-out of the command is for a silent broker."""
    kill(redis, "d1", "d2", "d3")
    begun = time.monotonic()
    done = dramatiq("requeue", "orders", "--yes", "--rate", "4/s", "--timeout", "200ms", "--json")
    assert done.document["done"] == 3
    assert time.monotonic() - begun >= 0.5


@pytest.mark.usefixtures("recorded")
def test_interrupted_requeue_says_how_far_it_came(
    redis: Any,
    dramatiq: Command,
    span_exporter: InMemorySpanExporter,
) -> None:
    """No message is moved afterwards; those that were not stay dead letters."""
    kill(redis, *[f"d{n}" for n in range(50)])

    def interrupt() -> None:
        while not redis.llen("dramatiq:orders"):
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    done = dramatiq("requeue", "orders", "--yes", "--rate", "5/s")
    thread.join()
    assert done.code == 130
    moved = redis.llen("dramatiq:orders")
    assert f"{moved} of 50 messages were done" in done.err
    assert moved + redis.zcard("dramatiq:orders.XQ") == 50
    (span,) = span_exporter.get_finished_spans()
    assert span.status.status_code == StatusCode.ERROR
    assert dict(span.attributes or {})["taskqueue.admin.changed"] == moved


@pytest.mark.usefixtures("recorded")
def test_change_of_many_messages_has_a_progress_bar(
    redis: Any, dramatiq: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bar is on stderr and on terminals alone."""
    pipe = redis.pipeline()
    for number in range(500):
        fill_dramatiq(pipe, f"a{number}")
    pipe.execute()
    monkeypatch.setenv("TERM", "xterm")
    shown = answer(monkeypatch, "")
    done = dramatiq("purge", "orders", "--task", "charge", "--yes", "--json", "--timeout", "60s")
    assert done.document["done"] == 500
    assert "/500" in shown.getvalue()
    assert redis.llen("dramatiq:orders") == 0


@pytest.mark.parametrize("command", [["queues"], ["peek", "orders"], ["purge", "orders", "--yes"]])
def test_broker_that_does_not_answer_ends_the_command_in_time(
    celery: Command, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """Exit code 3 and one line, though the call to the broker hangs."""
    released = threading.Event()

    class Hanging:
        source = type("S", (), {"system": "redis", "url": "redis://h/0", "framework": "celery"})

        def __getattr__(self, name: str) -> Any:
            return lambda *_args, **_options: released.wait(90)

        def close(self) -> None:
            released.wait(90)

    monkeypatch.setattr(access, "reader_of_url", lambda *_args, **_options: Hanging())
    begun = time.monotonic()
    done = celery(*command, "--timeout", "300ms")
    took = time.monotonic() - begun
    released.set()
    assert (done.code, done.out) == (3, "")
    assert took < 30
    assert done.err.splitlines() == [
        "otel-queue: redis://h/0: no answer in 0.3 s; is the broker up, and the URL right?"
    ]


@pytest.mark.usefixtures("recorded")
def test_failure_halfway_says_how_far_it_came(
    redis: Any,
    dramatiq: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit code 3 with the number of messages that were moved."""
    kill(redis, "d1", "d2")

    def requeue(_self: QueueReader, _queue: str, *_: Any, moved: Any, **_options: Any) -> None:
        moved(type("Message", (), {"creation": None})())
        raise BrokerError("redis://h: gone")

    monkeypatch.setattr(QueueReader, "requeue", requeue)
    done = dramatiq("requeue", "orders", "--yes")
    assert done.code == 3
    assert "redis://h: gone; 1 of 2 messages were done" in done.err
