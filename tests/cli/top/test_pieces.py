"""What the view is made of: lines of signs, filters, widths, looks that are made again."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from otel_queue_plugins.brokers.answers import all_unknown, queue_state
from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.brokers.selection import Selection
from otel_queue_plugins.cli.top import broker, filters, traces
from otel_queue_plugins.cli.top.history import MOST, History, sparkline
from otel_queue_plugins.cli.top.rows import MESSAGES, QUEUES, WORKERS, Column, Row
from otel_queue_plugins.cli.top.table import widths_of
from otel_queue_plugins.cli.top.threads import in_thread
from otel_queue_plugins.cli.view.glyphs import ASCII, UNICODE
from tests.cli.spans import span

if TYPE_CHECKING:
    from otel_queue_plugins.brokers.facts import QueueState


def state(name: str, ready: int, age: float = 0.0) -> QueueState:
    """A queue with so much in it."""
    numbers = {"delayed": 0, "unacked": 0, "dead": 0, "abandoned": 0, "consumers": 1}
    return queue_state(
        name, "redis", ready=ready, oldest_age_s=age, oldest_unacked_age_s=0.0, **numbers
    )


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], "    "),
        ([0, 0], "  ▁▁"),
        ([0, 1, 2, 3, 4], "▃▅▆█"),
        ([8, None, 4], " █ ▅"),
        ([1e300, 1.0], "  █▁"),
    ],
)
def test_line_shows_the_last_values(values: list[float | None], line: str) -> None:
    """The highest fills its cell, 0 is the lowest sign, and what is not known is none."""
    assert sparkline(values, 4, UNICODE.levels) == line
    assert len(sparkline(values, 4, ASCII.levels)) == 4


def test_history_is_bounded_and_forgets_queues_that_are_gone() -> None:
    """A queue that comes again begins anew; a number that is not known is a gap."""
    history = History()
    for number in range(MOST + 5):
        history.add([state("a", number, age=number / 2), state("b", 1)])
    assert len(history.depths("a")) == MOST
    assert history.depths("a")[-1] == MOST + 4
    assert history.ages("a")[-1] == (MOST + 4) / 2
    history.add([all_unknown("a", "redis", "away")])
    assert history.depths("a")[-1] is history.ages("a")[-1] is None
    assert history.depths("b") == history.ages("b") == []


@pytest.mark.parametrize(
    ("text", "selection"),
    [
        ("", Selection()),
        ("charge", Selection(task="*charge*")),
        ("shop.*", Selection(task="shop.*")),
        ("task=charge id=7f3 older=10m", Selection(task="charge", id="7f3", older_than=600)),
    ],
)
def test_filter_chooses_as_the_options_do(text: str, selection: Selection) -> None:
    """A plain word is a part of the task's name."""
    assert filters.selection_of(text) == selection


@pytest.mark.parametrize("text", ["older=soon", "colour=red", "id="])
def test_filter_that_is_not_understood_is_said(text: str) -> None:
    """With the word that is wrong."""
    with pytest.raises(ValueError, match=text.rsplit("=", maxsplit=1)[-1] or text):
        filters.selection_of(text)


def test_queue_is_meant_by_a_part_of_its_name_or_a_pattern() -> None:
    """In whatever case."""
    assert filters.is_meant("shop.Orders", "orders")
    assert filters.is_meant("shop.orders", "SHOP.*")
    assert not filters.is_meant("shop.orders", "orders*")


@pytest.mark.parametrize("columns", [QUEUES, MESSAGES, WORKERS])
@pytest.mark.parametrize("room", [20, 80, 200])
def test_columns_fit_where_they_can(columns: tuple[Column, ...], room: int) -> None:
    """Names give way first, and lines of numbers take what is left over."""
    row = Row(key="k", cells=[("x" * 12, "") if not each.most else [1.0] for each in columns])
    name = Row(key="n", cells=[("名" * 300, ""), *row.cells[1:]])
    widths = widths_of(columns, [row, name], room)
    total = sum(widths) + len(widths) - 1
    for width, column in zip(widths, columns, strict=True):
        assert width >= max(1, column.least) or (column.is_optional and room < 200)
    assert total <= max(room, sum(widths[1:]) + columns[0].least + len(widths) - 1)


def test_lines_grow_in_a_wide_terminal() -> None:
    """Up to a bound."""
    row = Row(key="k", cells=[("q", "") if not each.most else [1.0] for each in QUEUES])
    assert widths_of(QUEUES, [row], 300)[1] == widths_of(QUEUES, [row], 300)[6] == 30


class FakeAccess:
    """Asks nobody; fails as often as is wanted."""

    def __init__(self, failures: list[str]) -> None:
        self._failures = failures
        self.is_closed = False

    def look_again(self, ask: Any) -> Any:
        if self._failures:
            raise BrokerError(self._failures.pop())
        return ask(self)

    def names(self, *, search: bool) -> dict[str, str]:
        assert search
        return {"b": "found", "a": "found"}

    def states(self, names: list[str]) -> list[str]:
        return names

    def close(self) -> None:
        self.is_closed = True


def test_connection_that_failed_is_closed_and_made_anew() -> None:
    """One that works is kept."""
    failures = ["refused"]
    made: list[FakeAccess] = []

    def open_access() -> Any:
        made.append(FakeAccess(failures))
        return made[-1]

    queues = broker.Broker(open_access)
    with pytest.raises(BrokerError, match="refused"):
        queues.look(lambda _: 1)
    assert made[0].is_closed
    assert [queues.look(lambda _: 1), queues.look(lambda _: 2)] == [1, 2]
    assert len(made) == 2
    queues.close()
    assert made[1].is_closed


def test_broker_is_searched_for_queues_now_and_then_only() -> None:
    """The numbers are asked each time. Names on the command line are not searched for."""
    now, searched = [0.0], []

    class Counted(FakeAccess):
        def names(self, *, search: bool) -> dict[str, str]:
            searched.append(now[0])
            return super().names(search=search)

    queues = broker.Queues(broker.Broker(lambda: Counted([])), [], clock=lambda: now[0])  # type: ignore[arg-type, return-value]
    for _ in range(10):
        assert queues.states() == ["b", "a"]
        now[0] += 2
    assert searched == [0, 16]
    named = broker.Queues(broker.Broker(lambda: Counted([])), ["q", "p"])  # type: ignore[arg-type, return-value]
    assert named.states() == ["p", "q"]
    assert len(searched) == 2


def test_call_in_a_thread_returns_or_raises_where_it_is_awaited() -> None:
    """And a program that ends does not wait for it."""
    hangs, ended = threading.Event(), []

    async def act() -> None:
        assert await in_thread(lambda: 5) == 5
        with pytest.raises(BrokerError, match="away"):
            await in_thread(fail)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(in_thread(lambda: hangs.wait(60)), 0.05)
        ended.append(True)

    def fail() -> None:
        raise BrokerError("away")

    asyncio.run(act())
    assert ended
    hangs.set()


def test_trace_has_the_spans_of_all_sources() -> None:
    """One that fails is said, and the others are shown."""

    def fail(_trace_id: str) -> Any:
        raise ValueError("http://tempo: 502")

    first, second = span("a", "send", 0, 1), span("b", "process", 1, 2)
    found = traces.found([lambda _: [first], fail, lambda _: [first, second]], "1")
    assert found.spans == (first, second)
    assert found.problems == ("http://tempo: 502",)
