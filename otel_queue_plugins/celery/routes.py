"""From exchange and routing key to the queue that users know, once per task and queue."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kombu.common import Broadcast

from otel_queue_plugins.celery import apps, broker
from otel_queue_plugins.core.messages import BrokerAddress, Route
from otel_queue_plugins.core.safety import do_nothing, never_raises

MAX_ROUTES: Final = 4096

# Native delayed delivery (`kombu.transport.native_delayed_delivery`): 28 bits of a delay, then the
# routing key. Kombu 5.5 puts those of a retry before those of the attempt before it. The exchange
# is the one that the message came through last.
_DELAY_BITS: Final = re.compile(r"(?:(?:[01]\.){28})+(?=.)")
_DELAYED_EXCHANGE: Final = re.compile(r"(?:.+_)?celery_delayed_(?:\d+|delivery)")
_DELAYED: Final = "celery_delayed_delivery"
_SOME_DELAY: Final = "0." * 28

_Known = dict[tuple[str, str, str, bool], Route]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CeleryRoute(Route):
    """A route with the routing key of its messages; of delayed ones, with any delay before it."""

    routing_key: str


class Routes:
    """The routes of the apps in this process. `on_new` is called when there is another one."""

    def __init__(self, on_new: Callable[[], None] = do_nothing) -> None:
        self._on_new = on_new
        self._routes: weakref.WeakKeyDictionary[Any, _Known] = weakref.WeakKeyDictionary()
        self._latest: tuple[Callable[[], Any], _Known] = (do_nothing, {})
        self._brokers: weakref.WeakKeyDictionary[Any, dict[bool, BrokerAddress]] = (
            weakref.WeakKeyDictionary()
        )

    def find(
        self, app: Any, task: str, exchange: object, routing_key: object, *, reading: bool
    ) -> Route:
        """The route of messages of `task` published to `exchange` with `routing_key`."""
        name = exchange if isinstance(exchange, str) else getattr(exchange, "name", None) or ""
        words = str(routing_key or "")
        if name:
            name, words = _without_delay(name, words)
        key = (task, name, words, reading)
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
        return CeleryRoute(
            system=where.system,
            server_address=where.address,
            server_port=where.port,
            destination=destination(app, exchange, routing_key),
            task=task,
            function=function_name(app, task) if reading else None,
            routing_key=f"{_SOME_DELAY}{routing_key}" if exchange == _DELAYED else routing_key,
        )

    def _broker(self, app: Any, reading: bool) -> BrokerAddress:  # noqa: FBT001
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
    return (exchange, routing_key) if exchange else (bound, routing_key or queue.routing_key)


def destination(app: Any, exchange: str, routing_key: str) -> str:
    """The queue behind `exchange` and `routing_key` by the name its users know.

    That of a delayed message is the one it was sent to.
    """
    return queue_behind(app, *_without_delay(exchange, routing_key))


def queue_behind(app: Any, exchange: str, routing_key: str) -> str:
    """The queue that a broker puts a message into that comes to `exchange` with `routing_key`.

    An unnamed exchange routes to the queue of that name (AMQP 0-9-1, section 3.1.3.1). Otherwise
    the app's own queues are asked. If none or several match, the routing key stands for them, or
    the exchange where the routing key says nothing.
    """
    queues = _queues(app)
    if not exchange:
        name = routing_key or str(app.conf.task_default_queue)
        return queue_name(queues[name]) if name in queues else name
    matching = [each for each in list(queues.values()) if _delivers(each, exchange, routing_key)]
    names = {queue_name(queue) for queue in matching}
    if len(names) == 1:
        return names.pop()
    if exchange != _DELAYED and (
        routing_key in {"", app.conf.task_default_routing_key} or _is_fanout(matching, exchange)
    ):
        return exchange
    return routing_key


def is_delayed(routing_key: str) -> bool:
    """Whether native delayed delivery has put a delay before a routing key."""
    return _DELAY_BITS.match(routing_key) is not None


def queue_name(queue: Any) -> str:
    """What users call `queue`, a kombu Queue or a name.

    An alias is for a queue whose name is made up, as that of a `Broadcast` is in each process. One
    without an alias is known by its exchange.
    """
    found = getattr(queue, "alias", None)
    if found is None and isinstance(queue, Broadcast):
        found = queue.exchange.name
    return str(found or getattr(queue, "name", queue))


def declared(app: Any, name: str) -> Any:
    """The queue of `app` that its users call `name`, None without one."""
    found = (queue for queue in list(_queues(app).values()) if queue_name(queue) == name)
    return next(found, None)


def function_name(app: Any, task: str) -> str | None:
    """The Python function that runs `task`, `None` for a task this app does not know."""
    known = dict.get(app._tasks, task)  # noqa: SLF001 - the public name would finalize the app
    run = getattr(known, "run", None)
    name = getattr(run, "__qualname__", None)
    return f"{run.__module__}.{name}" if name else None


def _no_queues() -> dict[str, Any]:
    return {}


@never_raises(_no_queues)
def _queues(app: Any) -> dict[str, Any]:
    """The queues that `app` declares or has sent to; none where its settings are wrong."""
    queues: dict[str, Any] = app.amqp.queues
    return queues


def _without_delay(exchange: str, routing_key: str) -> tuple[str, str]:
    """Exchange and routing key as they were before native delayed delivery took the message."""
    bits = _DELAY_BITS.match(routing_key)
    if bits is None:
        return exchange, routing_key
    delayed = _DELAYED_EXCHANGE.fullmatch(exchange)
    return _DELAYED if delayed else exchange, routing_key[bits.end() :]


def _delivers(queue: Any, exchange: str, routing_key: str) -> bool:
    """Whether `queue` gets what is published so.

    After a delay it gets what has its own routing key, whatever its exchange is, unless that is
    direct (`bind_queue_to_native_delayed_delivery_exchange`).
    """
    return any(
        _binds(bound.type, key or "", routing_key, delayed=exchange == _DELAYED)
        for bound, key in _bindings(queue)
        if exchange in (bound.name, _DELAYED)
    )


def _bindings(queue: Any) -> list[tuple[Any, str]]:
    """Exchanges and routing keys that `queue` is bound by."""
    bindings = [(each.exchange, each.routing_key) for each in queue.bindings or ()]
    if queue.exchange is not None:
        bindings.append((queue.exchange, queue.routing_key))
    return bindings


def _binds(kind: str, binding: str, routing_key: str, *, delayed: bool) -> bool:
    if delayed:
        return kind != "direct" and binding == routing_key
    if kind == "topic":
        return bool(_pattern(binding).fullmatch(f"{routing_key}."))
    return kind == "fanout" or binding == routing_key


def _is_fanout(queues: list[Any], exchange: str) -> bool:
    """Whether `exchange` gives each of `queues` every message, whatever its routing key."""
    bound = [known for queue in queues for known, _ in _bindings(queue) if known.name == exchange]
    return any(known.type == "fanout" for known in bound)


def _pattern(binding: str) -> re.Pattern[str]:
    """A topic binding as a regular expression: `*` is a word, `#` any number of words.

    It matches a routing key with one more dot at its end.
    """
    words = {"*": r"[^.]*\.", "#": r"(?:[^.]*\.)*"}
    return re.compile("".join(words.get(w, rf"{re.escape(w)}\.") for w in binding.split(".")))
