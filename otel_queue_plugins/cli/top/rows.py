"""Queues, workers and messages as rows of a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from otel_queue_plugins.brokers.facts import QueueState, StoredMessage
from otel_queue_plugins.cli.queues import messages
from otel_queue_plugins.cli.queues.queues_command import cells
from otel_queue_plugins.cli.top.history import History, Values
from otel_queue_plugins.cli.view import quantity
from otel_queue_plugins.cli.workers import command
from otel_queue_plugins.cli.workers.asking import Stats

Cell = tuple[str, str] | Values
"""A text and its style, or numbers that are drawn as a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`least` is the width to which it shrinks where there is little room; 0 for as it is.

    `most` is the width to which it grows where there is much, for lines of numbers. An optional
    one is left out where names that are cut do not save enough.
    """

    title: str
    is_number: bool = False
    least: int = 0
    most: int = 0
    is_optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`key` says what the row is about, and stays the same while the row moves."""

    key: str
    cells: Sequence[Cell]


QUEUES: Final = (
    Column(title="QUEUE", least=10),
    Column(title="TREND", least=6, most=30),
    Column(title="READY", is_number=True),
    Column(title="DELAYED", is_number=True),
    Column(title="UNACKED", is_number=True),
    Column(title="DEAD", is_number=True),
    Column(title="TREND", least=6, most=30),
    Column(title="OLDEST", is_number=True),
    Column(title="CONS.", is_number=True),
)
WORKERS: Final = (
    Column(title=command.HEADING[0], least=10),
    *(Column(title=title, is_optional=True) for title in command.HEADING[1:4]),
    *(
        Column(title=title, is_number=True, is_optional=title == "EXPORTED")
        for title in command.HEADING[4:]
    ),
)
MESSAGES: Final = (
    Column(title="TASK", least=12),
    Column(title="ID", least=10),
    Column(title="AGE", is_number=True),
    Column(title="ATTEMPT", is_number=True),
    Column(title="TRACE", least=10),
    Column(title="", least=4),
)


def of_queues(states: Iterable[QueueState], history: History) -> list[Row]:
    """A row for each queue."""
    return [_of_queue(state, history) for state in states]


def of_workers(found: Iterable[Stats]) -> list[Row]:
    """A row for each worker."""
    return [Row(key=str(stats["worker"]), cells=command.row(stats)) for stats in found]


def of_messages(found: Iterable[StoredMessage], now: float) -> list[Row]:
    """A row for each message; the same message may be there twice, for two attempts."""
    rows: dict[str, Row] = {}
    for message in found:
        key = f"{message.queue} {message.state} {message.id} {message.attempt}"
        if key in rows:
            key += f" {len(rows)}"
        rows[key] = Row(key=key, cells=_cells_of_message(message, now))
    return list(rows.values())


def _of_queue(state: QueueState, history: History) -> Row:
    ready, delayed, unacked, dead, oldest, consumers = cells(state)
    depths, ages = history.depths(state.name), history.ages(state.name)
    numbers = (depths, ready, delayed, unacked, dead, ages, oldest, consumers)
    return Row(key=state.name, cells=((state.name, "bold"), *numbers))


def _cells_of_message(message: StoredMessage, now: float) -> list[Cell]:
    creation = message.creation
    trace = f"{creation.trace_id:032x}" if creation else "not traced"
    is_due = message.eta is None or message.eta <= now
    return [
        (message.task or "?", "bold"),
        (message.id or "?", ""),
        (messages.age(message, now), ""),
        (messages.attempt(message), ""),
        (trace, "" if creation else "dim"),
        ("" if is_due else f"due in {quantity.elapsed((message.eta or now) - now)}", "blue"),
    ]
