"""`otel-queue peek`: the messages of a queue in one state."""

from __future__ import annotations

import time
from argparse import Namespace

from otel_queue_plugins.brokers.reader import MAX_DISTURBED
from otel_queue_plugins.cli.queues import audit, messages
from otel_queue_plugins.cli.queues.access import opened
from otel_queue_plugins.cli.queues.arguments import selection_of
from otel_queue_plugins.cli.queues.failures import OK
from otel_queue_plugins.cli.queues.output import Output


def peek(parsed: Namespace, output: Output) -> int:
    """Show the messages, oldest first."""
    queue, state = parsed.queue, parsed.state
    with (
        opened(parsed) as access,
        audit.of_look(parsed, "peek", access.source, queue=queue, state=state) as span,
    ):
        found = access.look(
            lambda reader: reader.peek(
                queue,
                state,
                limit=parsed.limit,
                selection=selection_of(parsed),
                disturb=parsed.disturb,
            )
        )
        if span:
            span.count(matched=len(found), changed=0)
    if output.as_json:
        now = time.time()
        rows = [messages.row(each, now, with_arguments=parsed.args) for each in found]
        output.document({"messages": rows})
    elif found:
        messages.show_list(found, output, with_arguments=parsed.args)
    else:
        output.info(f"no {state} message in {queue} is one of these")
    if access.source.system == "rabbitmq" and parsed.limit > MAX_DISTURBED:
        output.info(f"on RabbitMQ at most {MAX_DISTURBED} messages are looked at")
    return OK
