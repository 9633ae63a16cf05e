"""Several messages that one call processes: a process span each, with links between them.

The span of the first one is current while the call runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.trace import Link, SpanContext

from otel_queue_plugins.core import relation
from otel_queue_plugins.core.carrier import propagation
from otel_queue_plugins.core.carrier.ids import MAX_LINKS
from otel_queue_plugins.core.messages import Batch, Delivery
from otel_queue_plugins.core.metrics import waiting
from otel_queue_plugins.core.options import Options

DeliveredMessage = tuple[Delivery, Mapping[str, object]]
"""A delivery, and the carrier that came with it."""


def first_delivery(
    deliveries: Sequence[DeliveredMessage], options: Options, started_at: float
) -> Delivery:
    """The first delivery, with the size of the batch and links to the other messages."""
    delivery, _ = deliveries[0]
    created = (_creation(one, options, started_at) for one in deliveries[1 : MAX_LINKS + 1])
    others = tuple(context for context in created if context is not None)
    return delivery._replace(batch=Batch(others, len(deliveries)))


def other_delivery(delivery: Delivery, first_span: SpanContext) -> Delivery:
    """Another delivery of the batch, with a link to the process span of the first."""
    return delivery._replace(batch=Batch((first_span,) if first_span.is_valid else ()))


def add_batch_links(links: list[Link], batch: Batch) -> list[Link]:
    """`links` and those of the batch, together at most 20."""
    return [*links, *map(Link, batch.others)][:MAX_LINKS]


def _creation(
    delivered: DeliveredMessage, options: Options, started_at: float
) -> SpanContext | None:
    """The creation context of a message; None if its relation is `none`."""
    delivery, carrier = delivered
    incoming = propagation.read(carrier)
    waited = waiting.measure(delivery, incoming.envelope, started_at)
    is_linked = relation.for_delivery(incoming, waited, options) != "none"
    return incoming.creation if is_linked else None
