"""The numbers of Dramatiq's queues on RabbitMQ: three passive declares a queue at most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from otel_queue_plugins.brokers.answers import Count, Unknown, queue_state
from otel_queue_plugins.brokers.facts import QueueState
from otel_queue_plugins.brokers.on_rabbitmq import reach
from otel_queue_plugins.brokers.on_rabbitmq.management import Totals
from otel_queue_plugins.brokers.on_rabbitmq.reach import Api
from otel_queue_plugins.brokers.on_rabbitmq.session import Declared, Session

DELAYED: Final = ".DQ"
DEAD: Final = ".XQ"
WORKERS_HOLD: Final = Unknown(
    "workers hold delayed messages; only the management API counts them, and its URL was not named"
)

_Totals = Mapping[str, Totals] | Unknown


def state(
    session: Session,
    api: Api,
    queue: str,
    declared: Declared | None,
    totals: _Totals,
    now: float,
) -> QueueState:
    """The numbers of a queue; `declared` is None if it is missing, `totals` are those of all."""
    held = reach.unacked(totals, queue)
    ready = declared.ready if declared else 0
    details = reach.details(api, queue, totals) if ready else reach.NO_API
    return queue_state(
        queue,
        "rabbitmq",
        ready=declared.ready if declared else reach.NO_QUEUE,
        delayed=_delayed(session, queue + DELAYED, totals),
        unacked=held,
        dead=_dead(session, queue + DEAD, totals),
        oldest_age_s=reach.oldest(ready, details, now) if declared else reach.NO_QUEUE,
        oldest_unacked_age_s=0.0 if held == 0 else reach.NO_TIMES,
        abandoned=reach.GIVES_BACK,
        consumers=declared.consumers if declared else reach.NO_QUEUE,
    )


def _delayed(session: Session, queue: str, totals: _Totals) -> Count:
    """Workers take delayed messages at once and hold them, so that most are not ready."""
    if not isinstance(totals, Unknown) and queue in totals:
        ready, held = totals[queue].ready, totals[queue].unacked
        if ready is not None and held is not None:
            return ready + held
    declared = session.declared(queue)
    if declared is None:
        return reach.NO_QUEUE
    if not declared.consumers:
        return declared.ready
    return WORKERS_HOLD if totals is reach.NO_API or not isinstance(totals, Unknown) else totals


def _dead(session: Session, queue: str, totals: _Totals) -> Count:
    if not isinstance(totals, Unknown) and queue in totals:
        ready = totals[queue].ready
        if ready is not None:
            return ready
    declared = session.declared(queue)
    return declared.ready if declared else reach.NO_QUEUE
