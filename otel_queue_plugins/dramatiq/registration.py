"""Add the middleware to a broker, first in its list, and remove it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_queue_plugins.core.options import check_names, warn_of_unused
from otel_queue_plugins.dramatiq.middleware import OpenTelemetryMiddleware

if TYPE_CHECKING:
    from dramatiq import Broker

__all__ = ["OpenTelemetryMiddleware", "instrument", "uninstrument"]


def instrument(broker: Broker, **options: Any) -> OpenTelemetryMiddleware:
    """Trace and measure `broker`: put an `OpenTelemetryMiddleware` first in its list.

    May be called before or after actors are declared, and again: a middleware that the broker has
    already is moved to the front, and its options stay as they are.

    Args:
        broker: The broker to cover.
        **options: The arguments of `OpenTelemetryMiddleware`.

    Returns:
        The middleware that covers `broker`.

    Raises:
        ValueError: An option has a value that is not one of its choices.
        TypeError: There is no option of that name.
        otel_queue_plugins.sdk.ConfigurationError: A variable is wrong, and `OTEL_QUEUE_STRICT` is
            `true`.
    """
    if not hasattr(broker, "add_middleware"):
        raise TypeError(f"{broker!r} is not a Dramatiq broker")
    middleware = find_middleware(broker)
    if middleware is None:
        middleware = OpenTelemetryMiddleware(**options)
        broker.add_middleware(middleware)
    elif options:
        check_names(options)
        warn_of_unused(broker, options)
    broker.middleware.remove(middleware)
    broker.middleware.insert(0, middleware)
    middleware.install(broker)
    return middleware


def uninstrument(broker: Broker) -> None:
    """Take our middleware out of `broker`, with everything it has wrapped.

    Args:
        broker: The broker; nothing happens to one that is not instrumented.
    """
    while middleware := find_middleware(broker):
        broker.middleware.remove(middleware)
        middleware.remove(broker)


def find_middleware(broker: Broker) -> OpenTelemetryMiddleware | None:
    """Return our middleware in `broker`, of several the one in charge; None if there is none."""
    ours = [each for each in broker.middleware if isinstance(each, OpenTelemetryMiddleware)]
    ours.sort(key=lambda each: not each.is_in_charge(broker))
    return ours[0] if ours else None
