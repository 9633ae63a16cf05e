"""`otel-queue queues`: how many messages, how old, and who takes them."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from rich.console import Group
from rich.live import Live
from rich.text import Text

from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.brokers.facts import QueueState
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.brokers.rows import queue_row, rfc3339
from otel_queue_plugins.cli.queues import audit
from otel_queue_plugins.cli.queues.access import Access, opened
from otel_queue_plugins.cli.queues.failures import OK, WRONG, UsageError
from otel_queue_plugins.cli.queues.output import Output, Row
from otel_queue_plugins.cli.view import quantity

_HEADING: Final = ("QUEUE", "READY", "DELAYED", "UNACKED", "DEAD", "OLDEST", "CONSUMERS")
_FIELDS: Final = ("ready", "delayed", "unacked", "dead", "oldest_age_s", "consumers")
_STYLES: Final = {"dead": "red", "unacked": "cyan", "delayed": "blue"}


def queues(parsed: Namespace, output: Output) -> int:
    """Show the queues; the exit code is 1 if nothing is known of one of them."""
    if parsed.watch and parsed.json:
        raise UsageError(
            "--watch goes with text alone: write one document after the other yourself"
        )
    with opened(parsed) as access, audit.of_look(parsed, "queues", access.source):
        read = partial(_states, names=parsed.queues)
        if parsed.watch:
            _watch(access, read, output, parsed.watch)
            return OK
        states = access.look(read)
        if output.as_json:
            output.document(document(access, states))
        else:
            for line in lines(states, output):
                output.line(line)
        return OK if all(_is_known(state) for state in states) else WRONG


def document(access: Access, states: Sequence[QueueState]) -> dict[str, Any]:
    """The JSON document."""
    return {
        "captured_at": rfc3339(time.time()),
        "broker": access.source.url,
        "framework": access.source.framework,
        "queues": [queue_row(state) for state in states],
    }


def lines(states: Sequence[QueueState], output: Output) -> list[Text]:
    """The table, and below it why some numbers are not known."""
    rows = [[(state.name, "bold"), *cells(state)] for state in states]
    table = output.table_lines(_HEADING, rows, range(1, len(_HEADING)))
    return table if output.is_quiet else [*table, *(Text(each, "dim") for each in reasons(states))]


def chosen_names(reader: QueueReader, names: Sequence[str]) -> list[str]:
    """Those that the command line names, else all there are."""
    return sorted(set(names)) or list(reader.names(search=True))


def _states(reader: QueueReader, *, names: Sequence[str]) -> list[QueueState]:
    chosen = chosen_names(reader, names)
    if not chosen:
        raise UsageError("this broker does not list its queues: name them with --queue NAME")
    return reader.states(chosen)


def _watch(access: Access, read: Any, output: Output, seconds: float) -> None:
    """Look again and again. A failure of the broker is shown, and the last numbers are not."""
    shown = lines(access.look(read), output)
    with Live(Group(*shown), console=output.console, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(seconds)
                live.update(Group(*_looked_again(access, read, output)), refresh=True)
        except KeyboardInterrupt:
            return


def _looked_again(access: Access, read: Any, output: Output) -> list[Text]:
    try:
        return lines(access.look_again(read), output)
    except BrokerError as error:
        return [Text(str(error), "red")]


def cells(state: QueueState) -> Row:
    """The numbers of a queue, each with its style."""
    row = []
    for field in _FIELDS:
        value = getattr(state, field)
        style = _STYLES.get(field, "") if value else "dim"
        row.append((_shown(field, value), style))
    return row


def _shown(field: str, value: float | None) -> str:
    if value is None:
        return "?"
    return quantity.elapsed(value) if field == "oldest_age_s" else f"{value:,}"


def reasons(states: Sequence[QueueState]) -> list[str]:
    """Why some numbers are not known, once for each reason."""
    found: dict[str, dict[str, None]] = {}
    for state in states:
        for field in _FIELDS:
            if field in state.unknown:
                found.setdefault(state.unknown[field], {})[field.removesuffix("_age_s")] = None
    return [f"? {', '.join(fields)}: {reason}" for reason, fields in found.items()]


def _is_known(state: QueueState) -> bool:
    return any(getattr(state, field) is not None for field in _FIELDS)
