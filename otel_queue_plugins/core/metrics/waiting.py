"""How long a message waited, told apart from how long it was meant to wait."""

from __future__ import annotations

from typing import NamedTuple

from otel_queue_plugins.core.carrier.envelope import Envelope
from otel_queue_plugins.core.messages import Delivery


class Waiting(NamedTuple):
    """Seconds, or None where unknown. Never negative: the clocks of two machines may disagree.

    `wait` is how long the message was ready and nobody ran it, `prefetch_wait` the part of it
    inside the worker, `scheduled_delay` how long it was meant to stay.
    """

    wait: float | None = None
    prefetch_wait: float | None = None
    scheduled_delay: float | None = None


def of(delivery: Delivery, facts: Envelope | None, started_at: float) -> Waiting:
    """The waiting that ended at `started_at` (seconds since the epoch)."""
    enqueued_at = facts.enqueued_at if facts else delivery.enqueued_at
    eta = delivery.eta
    if eta is None and facts:
        eta = facts.eta
    if enqueued_at is None:
        ready_at, delay = eta, None
    else:
        ready_at = enqueued_at if eta is None or eta < enqueued_at else eta
        delay = None if eta is None else max(0.0, eta - enqueued_at)
    wait = None
    if ready_at is not None:
        wait = started_at - ready_at if started_at > ready_at else 0.0
    held_from = delivery.received_at
    if held_from is None:
        return Waiting(wait, None, delay)
    if ready_at is not None and ready_at > held_from:
        held_from = ready_at
    return Waiting(wait, started_at - held_from if started_at > held_from else 0.0, delay)
