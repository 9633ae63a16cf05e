"""`otel-queue purge`: messages of one state away, and back within an hour on Redis."""

from __future__ import annotations

from argparse import Namespace

from opentelemetry.trace import SpanContext

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.facts import Change, Plan
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.brokers.selection import Selection
from otel_queue_plugins.cli.queues import audit, changes, movement
from otel_queue_plugins.cli.queues.access import Access, opened
from otel_queue_plugins.cli.queues.arguments import selection_of
from otel_queue_plugins.cli.queues.audit import Audit
from otel_queue_plugins.cli.queues.confirmation import confirm
from otel_queue_plugins.cli.queues.failures import UsageError
from otel_queue_plugins.cli.queues.movement import Movement
from otel_queue_plugins.cli.queues.output import Output


def purge(parsed: Namespace, output: Output) -> int:
    """Purge the messages after a question, or undo that; the exit code."""
    if parsed.undo:
        return _undo(parsed, output)
    queue, state, selection = parsed.queue, parsed.state, selection_of(parsed)
    with opened(parsed) as access:
        plan = access.look(lambda reader: reader.plan_purge(queue, state, selection))
        if not changes.goes_on(plan, changes.question("Purge", plan), parsed, output):
            return 0
        with movement.shown(output, total=plan.matched) as moved:
            change, span = carry_out(access, plan, selection, moved)
    return changes.reported(change, "purged", span, output)


def carry_out(
    access: Access, plan: Plan, selection: Selection, moved: Movement
) -> tuple[Change, Audit]:
    """Purge what was planned, with a span about it."""
    queue, state = plan.queue, plan.state
    links = access.look(lambda reader: _creations(reader, plan)) if selection.is_all else []
    with audit.recorded("purge", access.source, queue=queue, state=state, links=links) as span:
        change = changes.made(
            access,
            lambda reader, moved: reader.purge(queue, state, selection, moved=moved),
            moved,
            span,
            matched=plan.matched,
        )
    return change, span


def _creations(reader: QueueReader, plan: Plan) -> list[SpanContext]:
    """Whose messages go, where looking at them is free: all go at once, and are not seen."""
    try:
        found = reader.peek(plan.queue, plan.state, limit=audit.MAX_LINKS)
    except RefusedError:
        return []
    return [each.creation for each in found if each.creation]


def _undo(parsed: Namespace, output: Output) -> int:
    queue = parsed.queue
    if parsed.dry_run or not selection_of(parsed).is_all:
        raise UsageError("--undo brings back all of the last purge: leave the other options out")
    with opened(parsed) as access:
        confirm(f"Bring back what the last purge of {queue} took away?", parsed)
        with audit.recorded("undo", access.source, queue=queue, verb="purge") as span:
            change = _brought_back(access, queue)
            span.count(matched=change.matched, changed=change.done)
    return changes.reported(change, "brought back", span, output)


def _brought_back(access: Access, queue: str) -> Change:
    return access.look(lambda reader: reader.undo(queue))
