"""`otel-queue requeue`: dead letters back to the workers, in their trace."""

from __future__ import annotations

from argparse import Namespace

from otel_queue_plugins.brokers.facts import Change, Plan
from otel_queue_plugins.brokers.selection import Selection
from otel_queue_plugins.cli.queues import audit, changes, movement
from otel_queue_plugins.cli.queues.access import Access, opened
from otel_queue_plugins.cli.queues.arguments import selection_of
from otel_queue_plugins.cli.queues.audit import Audit
from otel_queue_plugins.cli.queues.movement import Movement
from otel_queue_plugins.cli.queues.output import Output


def requeue(parsed: Namespace, output: Output) -> int:
    """Requeue the dead letters after a question; the exit code."""
    queue, selection = parsed.queue, selection_of(parsed)
    with opened(parsed) as access:
        plan = access.look(lambda reader: reader.plan_requeue(queue, selection))
        if not changes.goes_on(plan, changes.question("Requeue", plan), parsed, output):
            return 0
        with movement.shown(output, total=plan.matched, rate=parsed.rate) as moved:
            change, span = carry_out(access, plan, selection, moved)
    return changes.reported(change, "requeued", span, output)


def carry_out(
    access: Access, plan: Plan, selection: Selection, moved: Movement
) -> tuple[Change, Audit]:
    """Requeue what was planned, with a span about it."""
    queue = plan.queue
    with audit.recorded("requeue", access.source, queue=queue, state=plan.state) as span:
        change = changes.made(
            access,
            lambda reader, moved: reader.requeue(queue, selection, cause=span.context, moved=moved),
            moved,
            span,
            matched=plan.matched,
        )
    return change, span
