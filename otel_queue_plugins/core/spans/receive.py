"""The receive span, for a poll of the broker that returned something."""

from __future__ import annotations

from opentelemetry.trace import Link, SpanKind

from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.api.recorder import Value
from otel_queue_plugins.core.bounds import bounded
from otel_queue_plugins.core.carrier import propagation
from otel_queue_plugins.core.connection import Connection
from otel_queue_plugins.core.messages import Fetch
from otel_queue_plugins.core.route_templates import queue_attributes, server_attributes


def record_span(
    connection: Connection, fetch: Fetch, framework: str, started_ns: int, ended_ns: int
) -> None:
    """Record the span of `fetch`: a root, since no message has caused it.

    It links to the creation context of the first message. The others may not be decoded yet.
    """
    destination, creation = fetch.destination or "", propagation.read(fetch.carrier or {}).creation
    broker = fetch.broker
    attributes: dict[str, Value] = {
        semconv.MESSAGING_OPERATION_NAME: "receive",
        semconv.MESSAGING_OPERATION_TYPE: "receive",
        semconv.FRAMEWORK: framework,
        semconv.MESSAGING_BATCH_MESSAGE_COUNT: fetch.size,
        **queue_attributes(broker.system, destination),
        **server_attributes(broker.address, broker.port),
    }
    if fetch.size == 1 and fetch.message_id is not None:
        attributes[semconv.MESSAGING_MESSAGE_ID] = bounded(fetch.message_id)
    links = [Link(creation)] if creation else []
    context = propagation.EMPTY_INCOMING.context
    name = f"receive {bounded(destination)}"
    span = connection.start_span(name, context, SpanKind.CLIENT, attributes, links, started_ns)
    span.end(ended_ns)
