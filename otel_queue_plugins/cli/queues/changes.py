"""What `requeue` and `purge` have in common: plan, ask, change, report."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from otel_queue_plugins.brokers.errors import BrokerError, RefusedError
from otel_queue_plugins.brokers.facts import Change, Plan
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.brokers.requeueing import GONE
from otel_queue_plugins.cli.queues.access import Access
from otel_queue_plugins.cli.queues.audit import Audit
from otel_queue_plugins.cli.queues.confirmation import confirm
from otel_queue_plugins.cli.queues.failures import OK, WRONG, InterruptedChangeError
from otel_queue_plugins.cli.queues.movement import Movement
from otel_queue_plugins.cli.queues.output import Output
from otel_queue_plugins.trace_links import trace_url

Act = Callable[[QueueReader, Movement], Change]


def question(verb: str, plan: Plan) -> str:
    """What is asked before a change: `Purge 12 ready messages of orders`."""
    return f"{verb} {counted(plan.matched, plan.state)} of {plan.queue}"


def goes_on(plan: Plan, what: str, parsed: Namespace, output: Output) -> bool:
    """Say what would be done, and ask. False if there is nothing to do, or it is a dry run."""
    if plan.matched and not parsed.dry_run:
        confirm(f"{what}?" + (f" ({plan.stays})" if plan.stays else ""), parsed)
        if plan.stays and parsed.yes:
            output.info(plan.stays)
        return True
    if output.as_json:
        nothing = Change(queue=plan.queue, state=plan.state, matched=plan.matched, done=0)
        output.document(_document(nothing, None))
    else:
        output.line(f"would {what[0].lower()}{what[1:]}" if plan.matched else "nothing to do")
    if plan.stays and plan.matched:
        output.info(plan.stays)
    return False


def made(access: Access, act: Act, movement: Movement, audit: Audit, *, matched: int) -> Change:
    """The change, with its numbers and links on the span, also if it ends halfway."""
    try:
        change = access.change(lambda reader: act(reader, movement), movement.last_active)
    except BaseException as error:
        movement.stop()
        access.settle()
        audit.count(matched=matched, changed=movement.done)
        _raise_with_progress(error, movement.done, matched)
        raise
    finally:
        audit.link(movement.creations)
    audit.count(matched=change.matched, changed=change.done)
    return change


def reported(change: Change, verb: str, audit: Audit, output: Output) -> int:
    """Write what was done. Exit code 1 if something was left, 4 if that was everything."""
    reasons = reasons_of(change)
    is_refused = any(reason != GONE for reason in change.left)
    if is_refused and not change.done:
        raise RefusedError("; ".join(reasons))
    if output.as_json:
        output.document(_document(change, audit.trace_id))
    else:
        output.line(summary(verb, change))
    for reason in reasons:
        output.info(reason)
    if audit.trace_id and not output.as_json:
        output.info(record_of(audit))
    return WRONG if is_refused else OK


def summary(verb: str, change: Change) -> str:
    """What was done: `purged 12 ready messages of orders`."""
    return f"{verb} {counted(change.done, change.state)} of {change.queue}"


def reasons_of(change: Change) -> list[str]:
    """Why some messages were left, the number before each reason."""
    return [f"{number} left: {reason}" for reason, number in change.left.items()]


def record_of(audit: Audit) -> str:
    """Where the change is recorded."""
    recorded = "recorded in" if audit.is_sent else "not sent to the backend in time:"
    url = trace_url(audit.trace_id) if audit.trace_id else None
    return f"{recorded} trace {audit.trace_id} {url or ''}".rstrip()


def counted(number: int, state: str) -> str:
    """`1 ready message`, `20,000 dead letters`."""
    thing = "dead letter" if state == "dead" else f"{state} message"
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _raise_with_progress(error: BaseException, done: int, matched: int) -> None:
    """Raise the error again with how far the change had come, if somebody has to know that."""
    far = f"{done:,} of {matched:,} messages were done"
    if isinstance(error, KeyboardInterrupt):
        raise InterruptedChangeError(f"interrupted: {far}") from error
    if isinstance(error, BrokerError):
        raise BrokerError(f"{error}; {far}") from error


def _document(change: Change, trace_id: str | None) -> dict[str, object]:
    return {
        "queue": change.queue,
        "state": change.state,
        "matched": change.matched,
        "done": change.done,
        "trace_id": trace_id,
    }
