"""From exchange and routing key to the queue that the broker puts a message into.

Found in the settings of the app; the broker is not asked. A queue has the name that its users know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from kombu.common import Broadcast

from otel_queue_plugins.core.messages import Route
from otel_queue_plugins.core.safety import never_raises

# Native delayed delivery (`kombu.transport.native_delayed_delivery`): 28 bits of a delay, then the
# routing key. Kombu 5.5 puts those of a retry before those of the attempt before it. The exchange
# is the one that the message came through last.
_DELAY_BITS: Final = re.compile(r"(?:(?:[01]\.){28})+(?=.)")
_DELAYED_EXCHANGE: Final = re.compile(r"(?:.+_)?celery_delayed_(?:\d+|delivery)")
_DELAYED: Final = "celery_delayed_delivery"
_SOME_DELAY: Final = "0." * 28


def published_to(options: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the exchange and the routing key that Celery publishes to for a router's `options`.

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
    """Return the name of the queue behind `exchange` and `routing_key`.

    For a delayed message that is the queue it was sent to, not the one that delays it.
    """
    return queue_behind(app, *without_delay(exchange, routing_key))


def queue_behind(app: Any, exchange: str, routing_key: str) -> str:
    """Return the queue that gets what is published to `exchange` with `routing_key`.

    An unnamed exchange routes to the queue of that name (AMQP 0-9-1, section 3.1.3.1). Otherwise
    the queues of the app are searched. If none or several match, the routing key is returned
    instead, or the exchange if the routing key is empty, the default or not used.
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


def queue_name(queue: Any) -> str:
    """Return the name that users know `queue` by, which is a kombu Queue or a name.

    An alias replaces a generated name. A `Broadcast` has a generated name in each process; without
    an alias it has the name of its exchange.
    """
    alias = getattr(queue, "alias", None)
    if alias is None and isinstance(queue, Broadcast):
        alias = queue.exchange.name
    return str(alias or getattr(queue, "name", queue))


def dead_letter_queue(app: Any, route: Route) -> str | None:
    """Return the dead-letter queue that `app` declares for the queue of `route`; None without one.

    A message keeps its routing key unless the queue says otherwise
    (https://www.rabbitmq.com/docs/dlx). That of a delayed message still starts with the delay,
    which few queues are bound by. A policy that is set on the broker is not found.
    """
    queue = _declared(app, route.destination)
    arguments = getattr(queue, "queue_arguments", None) or {}
    exchange = arguments.get("x-dead-letter-exchange")
    if exchange is None or route.system != "rabbitmq":
        return None
    new_key = arguments.get("x-dead-letter-routing-key")
    if new_key:
        return queue_behind(app, str(exchange), str(new_key))
    key = getattr(route, "routing_key", "") or queue.name
    name = queue_behind(app, str(exchange), key)
    return None if name == key and _DELAY_BITS.match(key) else name


def without_delay(exchange: str, routing_key: str) -> tuple[str, str]:
    """Return both without what native delayed delivery has added: `_DELAYED` is the exchange."""
    bits = _DELAY_BITS.match(routing_key)
    if bits is None:
        return exchange, routing_key
    delayed = _DELAYED_EXCHANGE.fullmatch(exchange)
    return _DELAYED if delayed else exchange, routing_key[bits.end() :]


def with_delay(exchange: str, routing_key: str) -> str:
    """Return the routing key of a message that `without_delay` was called for, with any delay."""
    return f"{_SOME_DELAY}{routing_key}" if exchange == _DELAYED else routing_key


def _declared(app: Any, name: str) -> Any:
    matching = (queue for queue in list(_queues(app).values()) if queue_name(queue) == name)
    return next(matching, None)


def _no_queues() -> dict[str, Any]:
    return {}


@never_raises(_no_queues)
def _queues(app: Any) -> dict[str, Any]:
    """Return the queues that `app` declares or has sent to; none if its settings are wrong."""
    queues: dict[str, Any] = app.amqp.queues
    return queues


def _delivers(queue: Any, exchange: str, routing_key: str) -> bool:
    """Whether `queue` gets what is published to `exchange` with `routing_key`.

    After a delay, a queue gets the messages with its own routing key, from any exchange that is not
    direct (`bind_queue_to_native_delayed_delivery_exchange`).
    """
    return any(
        _binds(bound.type, key or "", routing_key, delayed=exchange == _DELAYED)
        for bound, key in _bindings(queue)
        if exchange in (bound.name, _DELAYED)
    )


def _bindings(queue: Any) -> list[tuple[Any, str]]:
    """Return the exchanges and routing keys that `queue` is bound by."""
    bindings = [(each.exchange, each.routing_key) for each in queue.bindings or ()]
    if queue.exchange is not None:
        bindings.append((queue.exchange, queue.routing_key))
    return bindings


def _binds(exchange_type: str, binding: str, routing_key: str, *, delayed: bool) -> bool:
    if delayed:
        return exchange_type != "direct" and binding == routing_key
    if exchange_type == "topic":
        return bool(_pattern(binding).fullmatch(f"{routing_key}."))
    return exchange_type == "fanout" or binding == routing_key


def _is_fanout(queues: list[Any], exchange: str) -> bool:
    """Whether `exchange` gives each of `queues` every message, whatever its routing key."""
    bound = [each for queue in queues for each, _ in _bindings(queue) if each.name == exchange]
    return any(each.type == "fanout" for each in bound)


def _pattern(binding: str) -> re.Pattern[str]:
    """Compile a topic binding: `*` matches one word, `#` any number of words.

    The pattern matches a routing key with one more dot at its end.
    """
    words = {"*": r"[^.]*\.", "#": r"(?:[^.]*\.)*"}
    return re.compile("".join(words.get(w, rf"{re.escape(w)}\.") for w in binding.split(".")))
