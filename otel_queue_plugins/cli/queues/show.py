"""`otel-queue show`: one message, wherever it is, and what can be done with its trace."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from typing import Final

from rich.text import Text

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.facts import STATES, Found, StoredMessage
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.brokers.rows import rfc3339
from otel_queue_plugins.cli.queues import actions, audit, messages, privacy
from otel_queue_plugins.cli.queues.access import opened
from otel_queue_plugins.cli.queues.failures import OK, NotFoundError, UsageError, printable
from otel_queue_plugins.cli.queues.output import Output
from otel_queue_plugins.cli.view import quantity

_WIDTH: Final = 12


def show(parsed: Namespace, output: Output) -> int:
    """Show the message; the exit code is 1 if there is none, 4 if nothing could be looked at."""
    if parsed.view and parsed.json:
        raise UsageError("--view shows a tree, which is no JSON: leave one of them out")
    with (
        opened(parsed) as access,
        audit.of_look(parsed, "show", access.source) as span,
    ):
        found = access.look(lambda reader: _find(reader, parsed))
        if span:
            span.count(matched=len(found.messages), changed=0)
    if not found.messages:
        for place, reason in found.unseen.items():
            output.info(f"not looked at: {place}: {reason}")
        raise NotFoundError(
            f"no message has an id that begins with {parsed.id}: {access.source.url}"
        )
    if output.as_json:
        now = time.time()
        rows = [_row(each, now, parsed) for each in found.messages]
        output.document({"messages": rows})
    else:
        _show(found, output, parsed)
    actions.run(found.messages, parsed, output)
    return OK


def _find(reader: QueueReader, parsed: Namespace) -> Found:
    names = sorted(set(parsed.queues)) or list(reader.names(search=True))
    if not names:
        raise UsageError("this broker does not list its queues: name them with --queue NAME")
    found = reader.find(parsed.id, queues=names, limit=parsed.limit, disturb=parsed.disturb)
    if len(found.unseen) == len(names) * len(STATES):
        raise RefusedError("; ".join(dict.fromkeys(found.unseen.values())))
    return found


def _row(message: StoredMessage, now: float, parsed: Namespace) -> dict[str, object]:
    row = messages.row(message, now, with_arguments=parsed.args)
    return {**row, "actions": actions.of(message, parsed)}


def _show(found: Found, output: Output, parsed: Namespace) -> None:
    now = time.time()
    for number, message in enumerate(found.messages):
        if number:
            output.line()
        _facts(message, now, output)
        _headers(message, output)
        if parsed.args:
            for name, value in privacy.redacted(message.arguments).items():
                _fact(output, name, printable(str(value)), "cyan")
        for action in actions.of(message, parsed):
            _fact(output, str(action["name"]), str(action["command"]), "dim")


def _facts(message: StoredMessage, now: float, output: Output) -> None:
    age, workflow = message.age(now), message.workflow
    output.line(Text(printable(f"{message.task or '?'} {message.id}"), "bold"))
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
            _fact(output, name, printable(value))
    _fact(output, "trace", messages.trace_line(message, output))
    for key, value in privacy.redacted(message.baggage).items():
        _fact(output, "baggage", printable(f"{key}={value}"))


def _headers(message: StoredMessage, output: Output) -> None:
    """What else the message says; not the trace, which is shown, nor any arguments."""
    for name, value in privacy.redacted(messages.without_arguments(dict(message.headers))).items():
        if value in (None, "", [], {}):
            continue
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        first, *rest = text.splitlines() or [""]
        _fact(output, "header", f"{printable(name)}: {printable(first)}", "dim")
        for line in rest:
            _fact(output, "", f"  {printable(line)}", "dim")


def _fact(output: Output, name: str, value: str | Text, style: str = "") -> None:
    line = Text().append(f"  {name:<{_WIDTH}}", "dim")
    output.line(line.append_text(value if isinstance(value, Text) else Text(value, style)))
