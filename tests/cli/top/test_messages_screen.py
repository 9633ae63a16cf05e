"""The messages of a queue in `otel-queue top`, state by state."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.cli.top.table import Table
from tests.cli.queue_commands import TRACE_ID, fill_celery, fill_dramatiq, kill
from tests.cli.top import views

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from tests.cli.top.views import View

TRACE = f"{TRACE_ID:032x}"
HINDRANCE = "looking marks messages as redelivered: --disturb looks all the same"


def keys(view: View) -> list[str]:
    """What the table shows, by id."""
    return [key.split()[2] for key in view.app.screen.query_one("#messages", Table).keys]


async def enter(view: View) -> None:
    """Go into the one queue."""
    await view.sees("orders")
    await view.until(lambda: view.app.screen.query_one("#queues", Table).key == "orders")
    await view.press("enter")
    await view.sees("1 ready")


def test_states_and_messages_of_each(redis: Any) -> None:
    """By number and by arrow; with task, id, age, attempt and trace. Looking takes nothing away."""
    fill_dramatiq(redis, "r1", "r2")
    kill(redis, "d1", retries=3)

    async def act(view: View) -> None:
        await enter(view)
        await view.sees("r1", "r2", "charge", TRACE, "1/4")
        await view.sees("1 ready 2", "2 delayed 0", "4 dead 1")
        await view.press("4")
        await view.sees("d1")
        assert keys(view) == ["d1"]
        await view.press("left")
        await view.sees("no unacked message is one of these")
        await view.press("left", "left")
        await view.until(lambda: keys(view) == ["r1", "r2"])
        fill_dramatiq(redis, "r3")
        await view.until(lambda: keys(view) == ["r1", "r2", "r3"], "the next look")
        await view.press("q")
        await view.sees("QUEUE")

    views.run(act, "dramatiq", size=(80, 24))
    assert redis.llen("dramatiq:orders") == 3
    assert not redis.exists("dramatiq:__heartbeats__")


def test_cursor_stays_on_its_message_while_others_go(redis: Any) -> None:
    """Two that have the same id are two rows."""
    fill_dramatiq(redis, "r1", "r2", "r3", "r3")

    async def act(view: View) -> None:
        await enter(view)
        await view.until(lambda: keys(view) == ["r1", "r2", "r3", "r3"])
        await view.press("down")
        redis.lpop("dramatiq:orders")
        await view.until(lambda: keys(view) == ["r2", "r3", "r3"])
        await view.press("enter")
        await view.sees("message r2")

    views.run(act, "dramatiq")


def test_filter_looks_through_the_whole_queue(redis: Any) -> None:
    """As the options of `peek` do; one that is not understood says so and changes nothing."""
    fill_celery(redis, *(f"a{number}" for number in range(50)))
    fill_celery(redis, "b1", task="shop.refund")

    async def act(view: View) -> None:
        await enter(view)
        await view.sees("the first 5; -n shows more")
        assert len(keys(view)) == 5
        await view.press("slash")
        await view.type("refund")
        await view.press("enter")
        await view.until(lambda: keys(view) == ["b1"])
        await view.sees("only refund")
        await view.press("slash", *["backspace"] * 6)
        await view.type("what=this")
        await view.press("enter")
        await view.sees("'what=this' is not")
        assert keys(view) == ["b1"]
        await view.press("escape")
        await view.press("slash", *["backspace"] * 6)
        await view.type("id=a4")
        await view.press("enter")
        await view.until(lambda: keys(view)[:2] == ["a4", "a40"])

    views.run(act, "celery", "-n", "5")


def test_copy_and_open_lead_to_the_trace(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the message under the cursor; where that is not possible a line says why."""
    fill_celery(redis, "a1")
    redis.lpush("orders", '{"headers": {"task": "bare", "id": "b1"}}')
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    monkeypatch.setattr("webbrowser.get", lambda: None)

    async def act(view: View) -> None:
        await enter(view)
        await view.sees("a1", "b1", "not traced")
        await view.press("c")
        await view.sees(f"copied the trace id {TRACE}")
        assert view.app.clipboard == TRACE
        await view.press("o")
        await view.sees("set OTEL_QUEUE_TRACE_URL")
        monkeypatch.setenv("OTEL_QUEUE_TRACE_URL", "jaeger:http://jaeger:16686")
        await view.press("o")
        await view.sees("opened http://jaeger:16686/trace/")
        assert opened == [f"http://jaeger:16686/trace/{TRACE}"]
        monkeypatch.setattr("webbrowser.get", type("W3m", (), {"name": "/usr/bin/w3m"}))
        await view.press("o")
        await view.sees("the browser here needs the terminal")
        assert len(opened) == 1
        await view.press("down", "c")
        await view.sees("there is no trace")
        await view.press("o")
        assert len(opened) == 1

    views.run(act, "celery")


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("options", [[], ["--audit"]])
def test_looks_are_recorded_if_that_is_asked_for(
    redis: Any, span_exporter: InMemorySpanExporter, options: list[str]
) -> None:
    """What somebody has looked at, not what the view looks at by itself."""
    fill_celery(redis, "a1", "a2")

    def recorded() -> list[str]:
        return [span.name for span in span_exporter.get_finished_spans()]

    async def act(view: View) -> None:
        await enter(view)
        await view.until(lambda: keys(view) == ["a1", "a2"])
        await view.press("enter")
        await view.sees("message a1")
        before = view.app.session.numbers.looked_at
        await view.until(lambda: view.app.session.numbers.looked_at > before, "another look")
        if options:
            await view.until(lambda: len(recorded()) == 3, recorded)

    views.run(act, "celery", *options)
    assert sorted(recorded()) == (["peek orders", "queues", "show"] if options else [])


class Rabbit:
    """Looks that would disturb, as on RabbitMQ."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, redis: Any) -> None:
        self.looks: list[bool] = []
        self.is_near_limit = False

        def made(peek: views.Asks) -> views.Asks:
            def asked(queue: str, state: Any, *, disturb: bool, **options: Any) -> Any:
                if not disturb:
                    raise RefusedError(HINDRANCE)
                if self.is_near_limit:
                    raise RefusedError("past half of the delivery limit")
                self.looks.append(disturb)
                return peek(queue, state, **options)

            return asked

        views.replace_in_reader(monkeypatch, redis, "peek", made)


def test_nothing_is_disturbed_without_disturb(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is shown in place of the messages."""
    fill_celery(redis, "a1")
    rabbit = Rabbit(monkeypatch, redis)

    async def act(view: View) -> None:
        await enter(view)
        await view.sees(f"not looked at: {HINDRANCE}")
        await view.press("r", "2", "enter")
        await view.sees(HINDRANCE)

    views.run(act, "celery")
    assert rabbit.looks == []


def test_look_that_disturbs_is_not_repeated_by_itself(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only when somebody asks for it; and it says what it has done."""
    fill_celery(redis, "a1")
    rabbit = Rabbit(monkeypatch, redis)

    async def act(view: View) -> None:
        await enter(view)
        await view.sees("a1", "marked these as redelivered")
        before = view.app.session.numbers.looked_at
        await view.until(lambda: view.app.session.numbers.looked_at > before + 0.3, "more looks")
        assert len(rabbit.looks) == 1
        await view.press("enter")
        await view.sees("message a1")
        await view.press("escape")
        await view.until(lambda: keys(view) == ["a1"])
        assert len(rabbit.looks) == 1
        await view.press("r")
        await view.until(lambda: len(rabbit.looks) == 2)
        rabbit.is_near_limit = True
        await view.press("r")
        await view.sees("past half of the delivery limit")

    views.run(act, "celery", "--disturb", interval="50ms")


def test_look_that_hangs_holds_up_no_key_and_no_end(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it finds after somebody has gone on is not shown."""
    fill_celery(redis, "a1")
    hangs, begun = threading.Event(), threading.Event()

    def asked(*_args: Any, **_options: Any) -> Any:
        begun.set()
        hangs.wait(60)
        return []

    views.replace_in_reader(monkeypatch, redis, "peek", lambda _: asked)

    async def act(view: View) -> None:
        await enter(view)
        await view.until(begun.is_set)
        await view.sees("looking ...")
        await view.press("2", "question_mark")
        await view.sees("copy the trace id")
        await view.press("escape", "escape")
        await view.sees("QUEUE")
        await view.press("ctrl+c")

    app = views.run(act, "celery", "--timeout", "60s")
    assert app.return_code == 0
    assert not hangs.is_set()
    hangs.set()


def test_broker_that_is_away_is_said_and_messages_come_back(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By themselves."""
    fill_celery(redis, "a1")
    is_away = [True]

    away = views.fail_while(is_away, "redis://localhost/0: reset by peer")
    views.replace_in_reader(monkeypatch, redis, "peek", away)

    async def act(view: View) -> None:
        await enter(view)
        await view.sees("reset by peer")
        is_away.clear()
        await view.until(lambda: keys(view) == ["a1"])
        await view.misses("reset by peer")

    views.run(act, "celery")
