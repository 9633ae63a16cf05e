"""Where a broker puts the messages that a worker rejects."""

from __future__ import annotations

from typing import Any

from otel_queue_plugins.celery import routes
from otel_queue_plugins.core.messages import Route


def queue_of(app: Any, route: Route) -> str | None:
    """The dead-letter queue that the app declares for the queue of `route`, None without one.

    A message keeps its routing key unless the queue says otherwise
    (https://www.rabbitmq.com/docs/dlx). A policy on the broker is not seen.
    """
    queue = app.amqp.queues.get(route.destination)
    arguments = getattr(queue, "queue_arguments", None) or {}
    exchange = arguments.get("x-dead-letter-exchange")
    if queue is None or exchange is None or route.system != "rabbitmq":
        return None
    key = arguments.get("x-dead-letter-routing-key") or queue.routing_key or queue.name
    return routes.destination(app, str(exchange), str(key))
