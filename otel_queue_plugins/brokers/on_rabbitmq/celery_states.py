"""The numbers of Celery's queues on RabbitMQ: at most three round trips a queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from otel_queue_plugins.brokers.answers import Count, Unknown, queue_state
from otel_queue_plugins.brokers.facts import QueueState
from otel_queue_plugins.brokers.on_rabbitmq import reach
from otel_queue_plugins.brokers.on_rabbitmq.management import Details, Totals
from otel_queue_plugins.brokers.on_rabbitmq.session import Declared, Session

IN_WORKERS: Final = Unknown(
    "tasks with an ETA wait in workers, or in queues for all tasks; "
    "what workers hold is SCHEDULED in `otel-queue workers`"
)

_Totals = Mapping[str, Totals] | Unknown


def state(
    session: Session,
    queue: str,
    declared: Declared | None,
    totals: _Totals,
    details: Details | Unknown,
    dead_letters: str | Unknown,
    now: float,
) -> QueueState:
    """The numbers of a queue; `declared` is None if it is missing, `totals` are those of all."""
    held = reach.unacked(totals, queue)
    return queue_state(
        queue,
        "rabbitmq",
        ready=declared.ready if declared else reach.NO_QUEUE,
        delayed=IN_WORKERS,
        unacked=held,
        dead=_dead(session, dead_letters, totals),
        oldest_age_s=reach.oldest(declared.ready, details, now) if declared else reach.NO_QUEUE,
        oldest_unacked_age_s=0.0 if held == 0 else reach.NO_TIMES,
        abandoned=reach.GIVES_BACK,
        consumers=declared.consumers if declared else reach.NO_QUEUE,
    )


def _dead(session: Session, queue: str | Unknown, totals: _Totals) -> Count:
    if isinstance(queue, Unknown):
        return queue
    if not isinstance(totals, Unknown) and queue in totals:
        ready = totals[queue].ready
        if ready is not None:
            return ready
    declared = session.declared(queue)
    return declared.ready if declared else reach.NO_QUEUE
