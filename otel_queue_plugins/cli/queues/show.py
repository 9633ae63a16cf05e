"""`otel-queue show`: one message, wherever it is, and what can be done with its trace."""

from __future__ import annotations

import time
from argparse import Namespace

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.facts import STATES, Found, StoredMessage
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.cli.queues import actions, audit, description, messages
from otel_queue_plugins.cli.queues.access import opened
from otel_queue_plugins.cli.queues.failures import OK, NotFoundError, UsageError
from otel_queue_plugins.cli.queues.output import Output
from otel_queue_plugins.cli.queues.queues_command import chosen_names


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
    names = chosen_names(reader, parsed.queues)
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
        shown = description.lines(
            message, now, as_link=output.is_terminal, with_arguments=parsed.args
        )
        for line in shown:
            output.line(line)
        for action in actions.of(message, parsed):
            output.line(description.fact(str(action["name"]), str(action["command"]), "dim"))
