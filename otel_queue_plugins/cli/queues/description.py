"""All that a message says, as lines of text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from rich.text import Text

from otel_queue_plugins.brokers.facts import StoredMessage
from otel_queue_plugins.brokers.rows import rfc3339
from otel_queue_plugins.cli.queues import messages, privacy
from otel_queue_plugins.cli.queues.failures import printable
from otel_queue_plugins.cli.view import quantity

_WIDTH: Final = 12


def lines(
    message: StoredMessage, now: float, *, as_link: bool, with_arguments: bool
) -> Iterator[Text]:
    """What is known of a message; its arguments only if they are asked for."""
    yield Text(printable(f"{message.task or '?'} {message.id}"), "bold")
    yield from _facts(message, now)
    yield fact("trace", messages.trace_line(message, as_link=as_link))
    for key, value in privacy.redacted(message.baggage).items():
        yield fact("baggage", printable(f"{key}={value}"))
    yield from _headers(message)
    if with_arguments:
        for name, value in privacy.redacted(message.arguments).items():
            yield fact(name, printable(str(value)), "cyan")


def fact(name: str, value: str | Text, style: str = "") -> Text:
    """A line with a name before it."""
    line = Text().append(f"  {name:<{_WIDTH}}", "dim")
    return line.append_text(value if isinstance(value, Text) else Text(value, style))


def _facts(message: StoredMessage, now: float) -> Iterator[Text]:
    age, workflow = message.age(now), message.workflow
    facts = {
        "queue": f"{message.queue}, {message.state}",
        "attempt": messages.attempt(message),
        "age": None if age is None else quantity.elapsed(age),
        "enqueued at": rfc3339(message.enqueued_at),
        "eta": rfc3339(message.eta),
        "expires at": rfc3339(message.expires_at),
        "died at": rfc3339(message.died_at),
        "priority": None if message.priority is None else str(message.priority),
        "size": f"{message.size_bytes:,} bytes",
        "workflow": f"{workflow.kind} {workflow.id}".rstrip() if workflow else None,
        "redelivered": "yes" if message.redelivered else None,
    }
    for name, value in facts.items():
        if value is not None:
            yield fact(name, printable(value))


def _headers(message: StoredMessage) -> Iterator[Text]:
    """What else the message says; not the trace, which is shown, nor any arguments."""
    for name, value in privacy.redacted(messages.without_arguments(dict(message.headers))).items():
        if value in (None, "", [], {}):
            continue
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        first, *rest = text.splitlines() or [""]
        yield fact("header", f"{printable(name)}: {printable(first)}", "dim")
        for line in rest:
            yield fact("", f"  {printable(line)}", "dim")
