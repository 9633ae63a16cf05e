"""How long a message waited, without the time that it was scheduled to wait."""

from __future__ import annotations

from typing import NamedTuple

from otel_queue_plugins.core.carrier.envelope import Envelope
from otel_queue_plugins.core.messages import Delivery


class Waiting(NamedTuple):
    """Seconds, None where unknown. Never negative: the clocks of two machines may disagree.

    `wait` is how long the message was ready without being run, `prefetch_wait` the part of it
    inside the worker, `scheduled_delay` the time from its enqueue to its earliest start.
    """

    wait: float | None = None
    prefetch_wait: float | None = None
    scheduled_delay: float | None = None


def measure(delivery: Delivery, envelope: Envelope | None, started_at: float) -> Waiting:
    """The waiting of a message whose task started at `started_at` (seconds since the epoch)."""
    enqueued_at = envelope.enqueued_at if envelope else delivery.enqueued_at
    eta = delivery.eta
    if eta is None and envelope:
        eta = envelope.eta
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
