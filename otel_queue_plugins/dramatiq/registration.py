"""Put the middleware into a broker, in the right place, once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from otel_queue_plugins.dramatiq.middleware import OpenTelemetryMiddleware

if TYPE_CHECKING:
    from dramatiq import Broker

__all__ = ["OpenTelemetryMiddleware", "instrument", "uninstrument"]

_log = logging.getLogger("otel_queue_plugins")


def instrument(broker: Broker, **options: Any) -> OpenTelemetryMiddleware:
    """Trace and measure `broker`; returns the middleware that does it.

    It is put first, and moved there if the broker has one elsewhere; its options then stay as
    they are. Takes the arguments of `OpenTelemetryMiddleware`, and raises as it does.
    """
    middleware = find(broker)
    if middleware is None:
        middleware = OpenTelemetryMiddleware(**options)
        broker.add_middleware(middleware)
    elif options:
        _log.warning("%r is instrumented already; the options %s are not used", broker, options)
    broker.middleware.remove(middleware)
    broker.middleware.insert(0, middleware)
    middleware.install(broker)
    return middleware


def uninstrument(broker: Broker) -> None:
    """Take our middleware out of `broker`, with everything it has wrapped."""
    while middleware := find(broker):
        broker.middleware.remove(middleware)
        middleware.remove(broker)


def find(broker: Broker) -> OpenTelemetryMiddleware | None:
    """Our middleware in `broker`, the one in charge if there are more; None if there is none."""
    ours = [found for found in broker.middleware if isinstance(found, OpenTelemetryMiddleware)]
    ours.sort(key=lambda found: not found.is_in_charge(broker))
    return ours[0] if ours else None
