"""What `otel-queue top` changes: with --write, after a question, with its number, as a span."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from otel_queue_plugins.cli.top.change_screen import ChangeScreen
from tests.cli.queue_commands import fill_celery, fill_dramatiq, kill
from tests.cli.top import views
from tests.cli.top.test_messages_screen import enter, keys

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from tests.cli.top.views import View


def ready(redis: Any) -> int:
    """How many messages are ready."""
    number: int = redis.llen("dramatiq:orders")
    return number


def dead(redis: Any) -> int:
    """How many are dead."""
    number: int = redis.zcard("dramatiq:orders.XQ")
    return number


def step(view: View) -> str:
    """How far the change is."""
    screen = view.app.screen
    return screen.step if isinstance(screen, ChangeScreen) else "left"


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("key", ["R", "P"])
def test_view_is_read_only_without_write(
    redis: Any, span_exporter: InMemorySpanExporter, key: str
) -> None:
    """On each screen the key says so, and asks nothing."""
    fill_dramatiq(redis, "a")
    kill(redis, "d")

    async def act(view: View) -> None:
        await view.sees("orders", "R P need --write")
        await view.press(key)
        await view.sees("read-only: start it with --write to")
        await enter(view)
        await view.sees("R P need --write")
        await view.press("4")
        await view.until(lambda: keys(view) == ["d"])
        await view.press(key)
        await view.sees("read-only: start it with --write to")
        await view.press("enter")
        await view.sees("message d", "R P need --write")
        await view.press(key)
        await view.sees("read-only: start it with --write to")
        await view.press("question_mark")
        await view.sees("R and P do nothing")

    views.run(act, "dramatiq")
    assert (ready(redis), dead(redis)) == (1, 1)
    assert span_exporter.get_finished_spans() == ()


@pytest.mark.usefixtures("recorded")
def test_dead_letters_are_requeued_after_a_yes(
    redis: Any, span_exporter: InMemorySpanExporter
) -> None:
    """All of the queue under the cursor; the span says how many, and its trace is shown."""
    kill(redis, "d1", "d2", "d3", retries=3)

    async def act(view: View) -> None:
        await view.sees("orders", "may write", "R requeue")
        await view.press("R")
        await view.sees("Requeue 3 dead letters of orders?")
        assert dead(redis) == 3
        await view.press("enter")
        assert step(view) == "asks"
        await view.press("n")
        await view.misses("Requeue 3")
        assert (ready(redis), dead(redis)) == (0, 3)
        await view.press("R")
        await view.sees("Requeue 3 dead letters of orders?")
        await view.press("y")
        await view.sees("requeued 3 dead letters of orders")
        assert (ready(redis), dead(redis)) == (3, 0)
        (span,) = span_exporter.get_finished_spans()
        assert span.context
        await view.sees(f"{span.context.trace_id:032x}")
        await view.press("enter")
        await view.until(lambda: step(view) == "left")
        await view.press("R")
        await view.sees("nothing to do")
        await view.press("escape")
        await view.until(lambda: step(view) == "left")

    views.run(act, "dramatiq", "--write", size=(80, 24))
    (span,) = span_exporter.get_finished_spans()
    assert span.name == "requeue orders"
    attributes = dict(span.attributes or {})
    assert attributes["taskqueue.admin.changed"] == attributes["taskqueue.admin.matched"] == 3


@pytest.mark.usefixtures("recorded")
def test_purge_takes_what_the_filter_shows(redis: Any, span_exporter: InMemorySpanExporter) -> None:
    """And nothing else of the queue, nor of another state."""
    fill_dramatiq(redis, "a", "b")
    for identity in ("x", "y"):
        fill_dramatiq(redis, identity)
    kill(redis, "d1", "d2")

    async def act(view: View) -> None:
        await enter(view)
        await view.press("slash")
        await view.type("id=x")
        await view.press("enter")
        await view.until(lambda: keys(view) == ["x"])
        await view.press("R")
        await view.sees("only dead letters are requeued")
        await view.press("P")
        await view.sees("Purge 1 ready message of orders?", "only id x")
        await view.press("y")
        await view.sees("purged 1 ready message of orders")
        await view.press("enter")
        await view.sees("no ready message is one of these")
        assert (ready(redis), dead(redis)) == (3, 2)

    views.run(act, "dramatiq", "--write")
    (span,) = span_exporter.get_finished_spans()
    assert span.name == "purge orders"


def test_one_message_is_requeued_from_its_screen(redis: Any) -> None:
    """That one alone; one that is not dead is refused."""
    fill_dramatiq(redis, "a")
    kill(redis, "d1", "d2", retries=3)

    async def act(view: View) -> None:
        await enter(view)
        await view.sees("charge")
        await view.press("enter")
        await view.sees("message a")
        await view.press("R")
        await view.sees("only dead letters are requeued; this one is ready")
        await view.press("escape", "4")
        await view.until(lambda: keys(view) == ["d1", "d2"])
        await view.press("down", "enter")
        await view.sees("message d2")
        await view.press("R")
        await view.sees("Requeue 1 dead letter of orders?", "only id d2")
        await view.press("y")
        await view.sees("requeued 1 dead letter of orders")
        await view.press("enter", "escape")
        await view.until(lambda: keys(view) == ["d1"])

    views.run(act, "dramatiq", "--write")
    assert (ready(redis), dead(redis)) == (2, 1)


def test_what_is_refused_or_fails_is_said_with_its_reason(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the view goes on."""
    fill_celery(redis, "a")
    fails: list[bool] = []

    away = views.fail_while(fails, "redis://:s3cret@localhost/0: refused")
    views.replace_in_reader(monkeypatch, redis, "plan_purge", away)

    async def act(view: View) -> None:
        await view.sees("orders")
        await view.press("R")
        await view.sees("Celery keeps no dead letters on Redis")
        await view.press("enter")
        await view.until(lambda: step(view) == "left")
        fails.append(True)
        await view.press("P")
        await view.sees("refused")
        assert "s3cret" not in view.text
        await view.press("escape")
        fails.clear()
        await view.press("P")
        await view.sees("Purge 1 ready message of orders?")
        await view.press("y")
        await view.sees("purged 1 ready message")

    views.run(act, "celery", "--write")
    assert redis.llen("orders") == 0


class Slow:
    """Requeues that wait after the second message, until they may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, redis: Any) -> None:
        self.may_go_on = threading.Event()

        def made(requeue: views.Asks) -> views.Asks:
            def slowly(*args: Any, moved: Any, **options: Any) -> Any:
                def waits(message: Any) -> None:
                    if moved.done == 1:
                        self.may_go_on.wait(60)
                    moved(message)

                return requeue(*args, moved=waits, **options)

            return slowly

        views.replace_in_reader(monkeypatch, redis, "requeue", made)


async def begin_requeue(view: View) -> None:
    """Say yes to five dead letters, and wait until the first is back."""
    await view.sees("orders")
    await view.press("R")
    await view.sees("Requeue 5 dead letters")
    await view.press("y")
    await view.sees("1 of 5 messages ...")


@pytest.mark.usefixtures("recorded")
def test_change_shows_how_far_it_is_and_can_be_stopped(
    redis: Any, monkeypatch: pytest.MonkeyPatch, span_exporter: InMemorySpanExporter
) -> None:
    """Between two messages; what was done is said and recorded."""
    kill(redis, *(f"d{number}" for number in range(5)))
    slow = Slow(monkeypatch, redis)

    async def act(view: View) -> None:
        await begin_requeue(view)
        await view.press("escape")
        assert step(view) == "changes"
        slow.may_go_on.set()
        await view.sees("stopped: 2 messages were changed")
        await view.press("enter")
        await view.until(lambda: step(view) == "left")

    views.run(act, "dramatiq", "--write")
    assert (ready(redis), dead(redis)) == (2, 3)
    (span,) = span_exporter.get_finished_spans()
    assert (span.attributes or {})["taskqueue.admin.changed"] == 2


@pytest.mark.usefixtures("recorded")
def test_end_of_the_view_stops_a_change_and_records_it(
    redis: Any, monkeypatch: pytest.MonkeyPatch, span_exporter: InMemorySpanExporter
) -> None:
    """No message is lost, and none is moved afterwards."""
    kill(redis, *(f"d{number}" for number in range(5)))
    slow = Slow(monkeypatch, redis)

    async def act(view: View) -> None:
        await begin_requeue(view)
        await view.press("ctrl+c")

    app = views.run(act, "dramatiq", "--write")
    (changing,) = app.interrupted
    slow.may_go_on.set()
    changing.wait(views.DEADLINE_S)
    assert (ready(redis), dead(redis)) == (2, 3)
    (span,) = span_exporter.get_finished_spans()
    assert (span.attributes or {})["taskqueue.admin.changed"] == 2
