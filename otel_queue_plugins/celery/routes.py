"""The routes of messages: made once for each task and queue, and kept."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from otel_queue_plugins.celery import apps, broker
from otel_queue_plugins.celery.destinations import destination, with_delay, without_delay
from otel_queue_plugins.core.messages import BrokerAddress, Route
from otel_queue_plugins.core.safety import do_nothing

MAX_ROUTES: Final = 4096

# Task, exchange, routing key, and whether a worker reads from it.
_RoutesOfApp = dict[tuple[str, str, str, bool], Route]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CeleryRoute(Route):
    """A route with the routing key of its messages.

    The routing key of delayed messages starts with a delay, the same for all of them.
    """

    routing_key: str


class Routes:
    """The routes of all apps in this process.

    Args:
        on_new: Called before a route is made.
    """

    def __init__(self, on_new: Callable[[], None] = do_nothing) -> None:
        self._on_new = on_new
        self._routes: weakref.WeakKeyDictionary[Any, _RoutesOfApp] = weakref.WeakKeyDictionary()
        self._latest: tuple[Callable[[], Any], _RoutesOfApp] = (do_nothing, {})
        self._brokers: weakref.WeakKeyDictionary[Any, dict[bool, BrokerAddress]] = (
            weakref.WeakKeyDictionary()
        )

    def find(
        self, app: Any, task: str, exchange: object, routing_key: object, *, reading: bool
    ) -> Route:
        """Return the route of messages of `task` published to `exchange` with `routing_key`.

        `reading` selects the broker that `app` reads from, instead of the one it writes to.
        """
        name = exchange if isinstance(exchange, str) else getattr(exchange, "name", None) or ""
        key_without_delay = str(routing_key or "")
        if name:
            name, key_without_delay = without_delay(name, key_without_delay)
        key = (task, name, key_without_delay, reading)
        latest_app, routes = self._latest
        if latest_app() is not app:
            app = apps.unwrap_proxy(app)
            routes = self._routes_of(app)
        route = routes.get(key)
        if route is None:
            self._on_new()
            if len(routes) >= MAX_ROUTES:
                routes.clear()
            route = routes[key] = self._make(app, *key)
        return route

    def of_request(self, app: Any, task: str, request: Mapping[str, Any]) -> Route:
        """Return the route by which a request for `task` was delivered."""
        info = request.get("delivery_info") or {}
        return self.find(app, task, info.get("exchange"), info.get("routing_key"), reading=True)

    def _routes_of(self, app: Any) -> _RoutesOfApp:
        # Most processes have one app: the next call finds it without the weak dictionary.
        routes = self._routes.setdefault(app, {})
        self._latest = (weakref.ref(app), routes)
        return routes

    def _make(self, app: Any, task: str, exchange: str, routing_key: str, reading: bool) -> Route:  # noqa: FBT001
        address = self._broker(app, reading)
        return CeleryRoute(
            system=address.system,
            server_address=address.address,
            server_port=address.port,
            destination=destination(app, exchange, routing_key),
            task=task,
            function=function_name(app, task) if reading else None,
            routing_key=with_delay(exchange, routing_key),
        )

    def _broker(self, app: Any, reading: bool) -> BrokerAddress:  # noqa: FBT001
        addresses = self._brokers.setdefault(app, {})
        if reading not in addresses:
            addresses[reading] = broker.address_of(app, reading=reading)
        return addresses[reading]


def function_name(app: Any, task: str) -> str | None:
    """Return the qualified name of the function of `task`; None if `app` has no such task."""
    registered = dict.get(app._tasks, task)  # noqa: SLF001 - the public name would finalize the app
    run = getattr(registered, "run", None)
    name = getattr(run, "__qualname__", None)
    return f"{run.__module__}.{name}" if name else None
