"""From exchange and routing key to the queue that users know, once per task and queue."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final

from otel_queue_plugins.celery import apps, broker
from otel_queue_plugins.celery.broker import Broker
from otel_queue_plugins.core.guard import nothing
from otel_queue_plugins.core.messages import Route

MAX_ROUTES: Final = 4096

# Native delayed delivery (Celery 5.5): 28 levels of a bit each, then the real routing key.
_DELAYED_EXCHANGE: Final = re.compile(r"celery_delayed_\d+")
_DELAY_BITS: Final = re.compile(r"(?:[01]\.)+")

_Known = dict[tuple[str, str, str, bool], Route]


class Routes:
    """The routes of the apps in this process. `on_new` is called when there is another one."""

    def __init__(self, on_new: Callable[[], None] = nothing) -> None:
        self._on_new = on_new
        self._routes: weakref.WeakKeyDictionary[Any, _Known] = weakref.WeakKeyDictionary()
        self._latest: tuple[Callable[[], Any], _Known] = (nothing, {})
        self._brokers: weakref.WeakKeyDictionary[Any, dict[bool, Broker]] = (
            weakref.WeakKeyDictionary()
        )

    def find(
        self, app: Any, task: str, exchange: object, routing_key: object, *, reading: bool
    ) -> Route:
        """The route of messages of `task` published to `exchange` with `routing_key`."""
        name = exchange if isinstance(exchange, str) else getattr(exchange, "name", None) or ""
        key = (task, name, str(routing_key or ""), reading)
        latest, known = self._latest
        if latest() is not app:
            app = apps.behind(app)
            known = self._known(app)
        route = known.get(key)
        if route is None:
            self._on_new()
            if len(known) >= MAX_ROUTES:
                known.clear()
            route = known[key] = self._make(app, *key)
        return route

    def of_request(self, app: Any, task: str, request: Mapping[str, Any]) -> Route:
        """The route that a request for `task` came by, as its `delivery_info` tells."""
        info = request.get("delivery_info") or {}
        return self.find(app, task, info.get("exchange"), info.get("routing_key"), reading=True)

    def _known(self, app: Any) -> _Known:
        """The routes of `app`. Processes have one app, mostly: the next call is spared the map."""
        known = self._routes.setdefault(app, {})
        self._latest = (weakref.ref(app), known)
        return known

    def _make(self, app: Any, task: str, exchange: str, routing_key: str, reading: bool) -> Route:  # noqa: FBT001
        where = self._broker(app, reading)
        return Route(
            system=where.system,
            server_address=where.address,
            server_port=where.port,
            destination=destination(app, exchange, routing_key),
            task=task,
            function=function_name(app, task) if reading else None,
        )

    def _broker(self, app: Any, reading: bool) -> Broker:  # noqa: FBT001
        known = self._brokers.setdefault(app, {})
        if reading not in known:
            known[reading] = broker.of_app(app, reading=reading)
        return known[reading]


def published_to(options: Mapping[str, Any]) -> tuple[Any, Any]:
    """Exchange and routing key that Celery will make of what a router decided.

    A queue on a direct exchange is sent to by its name (`AMQP._create_task_sender`).
    """
    exchange, routing_key = options.get("exchange"), options.get("routing_key")
    if exchange and routing_key:
        return exchange, routing_key
    queue: Any = options.get("queue")
    bound = getattr(queue, "exchange", None)
    if bound is None or (options.get("exchange_type") or bound.type) == "direct":
        return "", getattr(queue, "name", queue)
    return exchange or bound, routing_key or queue.routing_key


def destination(app: Any, exchange: str, routing_key: str) -> str:
    """The queue behind `exchange` and `routing_key` by the name its users know.

    An unnamed exchange routes to the queue of that name (AMQP 0-9-1, section 3.1.3.1). Otherwise
    the app's own queues are asked; if none or several match, the routing key stands for them.
    """
    if _DELAYED_EXCHANGE.fullmatch(exchange):
        routing_key = _DELAY_BITS.sub("", routing_key, count=1)
    elif not exchange:
        return routing_key or str(app.conf.task_default_queue)
    matching = {
        queue.name for queue in app.amqp.queues.values() if _delivers(queue, exchange, routing_key)
    }
    if len(matching) == 1:
        return str(matching.pop())
    return routing_key or exchange or str(app.conf.task_default_queue)


def function_name(app: Any, task: str) -> str | None:
    """The Python function that runs `task`, `None` for a task this app does not know."""
    known = dict.get(app._tasks, task)  # noqa: SLF001 - the public name would finalize the app
    run = getattr(known, "run", None)
    name = getattr(run, "__qualname__", None)
    return f"{run.__module__}.{name}" if name else None


def _delivers(queue: Any, exchange: str, routing_key: str) -> bool:
    bound = getattr(queue, "exchange", None)
    delayed = _DELAYED_EXCHANGE.fullmatch(exchange)
    if bound is None or not (delayed or bound.name == exchange):
        return False
    if bound.type == "topic":
        return bool(_pattern(queue.routing_key or "").fullmatch(routing_key))
    return bool(bound.type == "fanout" or queue.routing_key == routing_key)


def _pattern(binding: str) -> re.Pattern[str]:
    """A topic binding as a regular expression: `*` is a word, `#` any number of words."""
    words = {"*": r"[^.]+", "#": r".*"}
    return re.compile(r"\.".join(words.get(word, re.escape(word)) for word in binding.split(".")))
