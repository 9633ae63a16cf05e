"""Where a broker puts the messages that a worker rejects."""

from __future__ import annotations

from typing import Any

from otel_queue_plugins.celery import routes
from otel_queue_plugins.core.messages import Route


def queue_of(app: Any, route: Route) -> str | None:
    """The dead-letter queue that the app declares for the queue of `route`, None without one.

    A message keeps its routing key unless the queue says otherwise
    (https://www.rabbitmq.com/docs/dlx), a delayed one with the delay in it: few queues are bound
    by that. A policy on the broker is not seen.
    """
    queue = routes.declared(app, route.destination)
    arguments = getattr(queue, "queue_arguments", None) or {}
    exchange = arguments.get("x-dead-letter-exchange")
    if exchange is None or route.system != "rabbitmq":
        return None
    told = arguments.get("x-dead-letter-routing-key")
    if told:
        return routes.queue_behind(app, str(exchange), str(told))
    key = getattr(route, "routing_key", "") or queue.name
    found = routes.queue_behind(app, str(exchange), key)
    return None if found == key and routes.is_delayed(key) else found
