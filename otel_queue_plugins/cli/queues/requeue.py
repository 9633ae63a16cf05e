"""`otel-queue requeue`: dead letters back to the workers, in their trace."""

from __future__ import annotations

from argparse import Namespace

from otel_queue_plugins.cli.queues import audit, changes, movement
from otel_queue_plugins.cli.queues.access import opened
from otel_queue_plugins.cli.queues.arguments import selection_of
from otel_queue_plugins.cli.queues.output import Output


def requeue(parsed: Namespace, output: Output) -> int:
    """Requeue the dead letters after a question; the exit code."""
    queue, selection = parsed.queue, selection_of(parsed)
    with opened(parsed) as access:
        plan = access.look(lambda reader: reader.plan_requeue(queue, selection))
        what = f"Requeue {changes.counted(plan.matched, plan.state)} of {queue}"
        if not changes.goes_on(plan, what, parsed, output):
            return 0
        with (
            audit.recorded("requeue", access.source, queue=queue, state="dead") as span,
            movement.shown(output, total=plan.matched, rate=parsed.rate) as moved,
        ):
            change = changes.made(
                access,
                lambda reader, moved: reader.requeue(
                    queue, selection, cause=span.context, moved=moved
                ),
                moved,
                span,
                matched=plan.matched,
            )
    return changes.reported(change, "requeued", span, output)
