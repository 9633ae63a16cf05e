"""Messages as rows of JSON and as lines of text, with links to their traces."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from otel_queue_plugins.brokers.facts import StoredMessage
from otel_queue_plugins.brokers.rows import Row, message_row
from otel_queue_plugins.cli.queues import privacy
from otel_queue_plugins.cli.queues.failures import printable
from otel_queue_plugins.cli.queues.output import Output
from otel_queue_plugins.cli.view import quantity
from otel_queue_plugins.trace_links import trace_url_of_message


def row(message: StoredMessage, now: float, *, with_arguments: bool) -> Row:
    """A message with the link to its trace; its arguments only if they are asked for."""
    found = {**message_row(message, now), "trace_url": trace_url_of_message(message)}
    found["baggage"] = privacy.redacted(found["baggage"])
    if with_arguments:
        found["arguments"] = privacy.redacted(message.arguments)
    return json_safe(found)


def json_safe(found: Row) -> Row:
    """`found` with text in place of what JSON does not know (AMQP has times and bytes)."""
    safe: Row = json.loads(json.dumps(found, default=str))
    return safe


def show_list(messages: Sequence[StoredMessage], output: Output, *, with_arguments: bool) -> None:
    """Write a table, with two lines for each message."""
    now = time.time()
    table = output.table_lines(
        ("TASK", "ID", "AGE", "ATTEMPT"),
        [[(m.task or "?", "bold"), (m.id or "?", ""), *_age_and_attempt(m, now)] for m in messages],
        (2, 3),
    )
    output.line(table[0])
    for line, message in zip(table[1:], messages, strict=True):
        output.line(line)
        output.line(
            Text()
            .append(label(message), "dim")
            .append_text(trace_line(message, as_link=output.is_terminal))
            .append(due(message, now))
        )
        if with_arguments:
            output.line(Text(f"  {arguments(message)}", "cyan"))


def label(message: StoredMessage) -> str:
    """What stands before the trace of a message in a list."""
    return "  trace " if message.creation else "  "


def trace_line(message: StoredMessage, *, as_link: bool) -> Text:
    """The trace id, which can be a link in a terminal; elsewhere the URL follows it."""
    creation = message.creation
    if creation is None:
        return Text("not traced", "dim")
    identity, url = f"{creation.trace_id:032x}", trace_url_of_message(message)
    is_link = bool(url) and as_link
    line = Text().append(identity, f"link {url}" if is_link else "")
    if not creation.trace_flags.sampled:
        line.append(" (not sampled)", "dim")
    return line if is_link or not url else line.append(f" {url}")


def due(message: StoredMessage, now: float) -> Text:
    """When the message may run, if that is later than now."""
    if message.eta is None or message.eta <= now:
        return Text()
    return Text(f"  due in {quantity.elapsed(message.eta - now)}", "blue")


def arguments(message: StoredMessage) -> str:
    """The arguments as text."""
    found = privacy.redacted(message.arguments)
    return printable("  ".join(f"{key} {value}" for key, value in found.items()))


def attempt(message: StoredMessage) -> str:
    """The attempt and how many there are at most: `2/4`."""
    most = message.max_attempts
    return str(message.attempt) if most is None else f"{message.attempt}/{most}"


def without_arguments(value: Any) -> Any:
    """Headers without the arguments of other messages in them (callbacks, pipelines)."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if str(k) not in _ARGUMENTS}
        return {key: without_arguments(each) for key, each in kept.items()}
    if isinstance(value, (list, tuple)):
        return [without_arguments(each) for each in value]
    return value


_ARGUMENTS = frozenset({"args", "kwargs", "argsrepr", "kwargsrepr", "pipe_arguments"})


def age(message: StoredMessage, now: float) -> str:
    """Since when it could have run; `?` if that is unknown."""
    seconds = message.age(now)
    return "?" if seconds is None else quantity.elapsed(seconds)


def _age_and_attempt(message: StoredMessage, now: float) -> list[tuple[str, str]]:
    return [(age(message, now), ""), (attempt(message), "")]
