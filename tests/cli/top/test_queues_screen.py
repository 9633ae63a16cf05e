"""The first screen of `otel-queue top`: queues and workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from otel_queue_plugins.cli.top.table import Table
from otel_queue_plugins.cli.top.workers import FoundWorkers, Workers
from tests.cli.queue_commands import fill_celery, fill_dramatiq, kill, reader_of
from tests.cli.test_workers import STATS, serving
from tests.cli.top import views

if TYPE_CHECKING:
    from tests.cli.top.views import View


class TwoWorkers:
    """One that says what it does, and one without this package."""

    def ask(self) -> FoundWorkers:
        bare = {**dict.fromkeys(STATS), "worker": "bare@host", "framework": "celery"}
        bare["unknown"] = dict.fromkeys(STATS, "the worker does not run otel_queue_plugins")
        return FoundWorkers(stats=(STATS, bare), problems=("nobody answers at host:1",))


def line_with(view: View, text: str) -> str:
    """The line on the screen that has `text`."""
    return next(line for line in view.lines if text in line)


def test_queues_and_workers_fit_into_80_by_24(redis: Any) -> None:
    """All numbers of a queue, its trends and why a number is not known; what workers run."""
    fill_dramatiq(redis, "a", "b", "c", otq={"t": 1.0})
    kill(redis, "d")

    async def act(view: View) -> None:
        await view.sees("orders", "shop@host")
        await view.until(lambda: "▁▁" in view.text or "██" in view.text, "trend")
        heading = line_with(view, "QUEUE").split()
        assert heading == [
            *("QUEUE", "TREND", "READY", "DELAYED", "UNACKED", "DEAD", "TREND", "OLDEST", "CONS."),
        ]
        row = line_with(view, "orders ").split()
        assert row[0] == "orders"
        assert row[2:6] == ["3", "0", "0", "1"]
        assert row[-1] == "?"
        assert "? consumers: Redis does not know who consumes" in view.text
        heading = line_with(view, "WORKER").split()
        worker = dict(zip(heading, line_with(view, "shop@host").split(), strict=False))
        assert (worker["SLOTS"], worker["RUNNING"]) == ("4", "3")
        assert "DROPPED" in heading
        assert "the worker does not run otel_queue_plugins" in view.text
        assert "nobody answers at host:1" in view.text
        assert "read-only" in view.lines[0]
        assert "R P need --write" in view.lines[-1]
        assert len(view.lines) == 24
        assert all(len(line) <= 80 for line in view.lines)

    views.run(act, "dramatiq", size=(80, 24), workers=TwoWorkers())


def test_cursor_filter_sort_and_focus(redis: Any) -> None:
    """The cursor stays on its queue while others come, go and change places."""
    for name, number in {"alpha": 1, "beta": 9, "gamma": 5}.items():
        fill_celery(redis, *map(str, range(number)), queue=name)

    async def act(view: View) -> None:
        await view.sees("alpha", "beta", "gamma")
        table = view.app.screen.query_one("#queues", Table)
        await view.press("j", "down", "down", "up")
        assert table.key == "beta"
        await view.press("s")
        await view.sees("sorted by ready")
        assert table.keys == ["beta", "gamma", "alpha"]
        assert table.key == "beta"
        await view.press("end")
        assert table.key == "alpha"
        await view.press("home")
        await view.press("slash")
        await view.type("*MM*")
        await view.press("enter")
        await view.misses("beta")
        assert table.keys == ["gamma"]
        assert "Esc shows all" in view.text
        await view.press("slash")
        await view.type("x")
        await view.press("escape")
        assert table.keys == ["gamma"]
        await view.press("escape")
        await view.sees("alpha", "beta")
        await view.press("tab")
        assert view.app.screen.query_one("#workers").has_focus

    names = ["--queue=alpha", "--queue=beta", "--queue=gamma"]
    views.run(act, "celery", *names)


def test_message_is_found_by_the_beginning_of_its_id(redis: Any) -> None:
    """In whatever queue and state it is; if none or several begin so, that is said."""
    fill_dramatiq(redis, "7f3c-1", "7f3d-2")
    kill(redis, "9a00-3")

    async def act(view: View) -> None:
        await view.sees("orders")
        await view.press("i")
        await view.type("9a")
        await view.press("enter")
        await view.sees("message 9a00-3", "orders, dead")
        await view.press("escape", "i")
        await view.type("7f3")
        await view.press("enter")
        await view.sees("2 messages have an id that begins with 7f3")
        await view.press("i")
        await view.type("q")
        await view.press("enter")
        await view.sees("0 messages have an id that begins with q")
        await view.press("i", "escape")
        assert view.app.screen.query_one("#queues").has_focus

    views.run(act, "dramatiq")


def test_mouse_chooses_and_opens(redis: Any) -> None:
    """A click goes to the row, a second one into it."""
    fill_celery(redis, "a", queue="alpha")
    fill_celery(redis, "b", queue="beta")

    async def act(view: View) -> None:
        await view.sees("alpha", "beta")
        table = view.app.screen.query_one("#queues", Table)
        await view.pilot.click("#queues", offset=(3, 0))
        assert table.key == "alpha"
        await view.pilot.click("#queues", offset=(3, 2))
        await view.until(lambda: table.key == "beta")
        await view.pilot.click("#queues", offset=(3, 9))
        assert table.key == "beta"
        await view.pilot.click("#queues", offset=(3, 2))
        await view.sees("1 ready 1")

    views.run(act, "celery", "--queue=alpha", "--queue=beta")


def test_thousand_queues_with_long_and_foreign_names(redis: Any) -> None:
    """Drawn are those that are seen; the last ones are reached, and names are cut."""
    names = [f"queue-{number:04}" for number in range(1000)]
    names += ["zz-" + "sehr-lang-" * 40, "zzz-注文キュー" * 5, "zzzz-\x1b[31mred"]
    for name in names[-3:]:
        fill_celery(redis, "a", queue=name)

    async def act(view: View) -> None:
        await view.sees("queue-0000")
        table = view.app.screen.query_one("#queues", Table)
        assert len(table.keys) == 1003
        await view.press("pagedown", "pagedown", "end")
        await view.sees("zz-sehr-lang-", "zzz-注文", "zzzz-?[31mred")
        assert "…" in line_with(view, "zz-sehr")
        assert all(len(line) <= 80 for line in view.lines)
        await view.press("enter")
        await view.sees("1 ready 1")

    views.run(act, "celery", *(f"--queue={name}" for name in names), size=(80, 24), interval="1s")


def test_broker_that_is_away_is_said_and_shown_again_when_it_is_back(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No number is shown that may be wrong by now, no password is, and keys work meanwhile."""
    fill_celery(redis, "a", "b")
    is_away: list[bool] = []

    away = views.fail_while(is_away, "redis://:s3cret@localhost/0: refused")
    views.replace_in_reader(monkeypatch, redis, "states", away)

    async def act(view: View) -> None:
        await view.sees("orders")
        await view.until(lambda: line_with(view, "orders").split()[2] == "2")
        is_away.append(True)
        await view.sees("away, again in", "refused")
        assert "s3cret" not in view.text
        assert "2" not in line_with(view, "orders").split()
        await view.press("question_mark")
        await view.sees("copy the trace id")
        await view.press("escape")
        is_away.clear()
        await view.press("r")
        await view.misses("refused")
        await view.until(lambda: "2" in line_with(view, "orders").split())

    views.run(act, "celery")


def test_broker_that_is_away_from_the_start_is_waited_for(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The view begins all the same."""
    fill_celery(redis, "a")
    is_away = [True]

    away = views.fail_while(is_away, "redis://localhost/0: refused")
    views.replace_in_reader(monkeypatch, redis, "names", away)

    async def act(view: View) -> None:
        await view.sees("refused")
        is_away.clear()
        await view.press("r")
        await view.sees("orders")
        await view.misses("refused")

    views.run(act, "celery")


def test_missing_client_ends_the_view(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No later look would find it; the command says which one."""
    error = ModuleNotFoundError("No module named 'redis'", name="redis")

    def fail(_names: Any) -> Any:
        raise error

    views.replace_in_reader(monkeypatch, redis, "states", lambda _: fail)

    async def act(view: View) -> None:
        await view.until(lambda: not view.app.is_running, "the end")

    assert views.run(act, "celery").failure is error


def test_broker_without_queues_says_how_to_name_them(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are shown when there are some."""

    def made(_url: str, framework: str, **_options: Any) -> Any:
        return reader_of(framework, redis, queues=())

    monkeypatch.setattr("otel_queue_plugins.cli.queues.access.reader_of_url", made)

    async def act(view: View) -> None:
        await view.sees("no queue is found", "--queue NAME")
        fill_dramatiq(redis, "a", queue="later")
        await view.press("r")
        await view.sees("later")

    views.run(act, "dramatiq")


@pytest.mark.usefixtures("redis")
def test_workers_answer_over_http_or_the_reason_is_said() -> None:
    """Dramatiq has no other way; an address where nobody answers does not hide the others."""

    async def act(view: View) -> None:
        await view.sees("--http [HOST:]PORT")

    parsed = views.parsed("dramatiq")
    views.run(act, "dramatiq", workers=Workers(parsed, "dramatiq"))
    with serving(b"{}") as nobody, serving(views.json_of(STATS)) as port:
        parsed = views.parsed("dramatiq", "--http", str(nobody), "--http", str(port))
        found = Workers(parsed, "dramatiq").ask()
    assert [each["worker"] for each in found.stats] == ["shop@host"]
    (problem,) = found.problems
    assert f"127.0.0.1:{nobody}" in problem
