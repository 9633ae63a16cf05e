"""From a Dramatiq broker, or a URL, to the storage behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from otel_queue_plugins.brokers.facts import Source
from otel_queue_plugins.brokers.formats.dramatiq_messages import Attempts, no_limit
from otel_queue_plugins.brokers.in_memory.dramatiq import DramatiqInMemory
from otel_queue_plugins.brokers.in_memory.unknown import UnknownStorage
from otel_queue_plugins.brokers.on_rabbitmq.management import Management
from otel_queue_plugins.brokers.on_rabbitmq.reach import Api
from otel_queue_plugins.brokers.storage import Storage
from otel_queue_plugins.brokers.urls import without_password

Names = Callable[[], Mapping[str, str]]

_KINDS: Final = ("RedisBroker", "RabbitmqBroker", "StubBroker")
_OTHER: Final = "only Dramatiq's brokers for Redis and RabbitMQ and its StubBroker can be looked at"


def storage(
    broker: Any, *, management_url: str | None, timeout: float, clock: Callable[[], float]
) -> Storage:
    """The storage behind `broker`, by its class or the one it is derived from."""
    kind = next((base.__name__ for base in type(broker).__mro__ if base.__name__ in _KINDS), None)
    attempts = _attempts_of(broker)

    def declared() -> dict[str, str]:
        return dict.fromkeys(
            broker.get_declared_queues() - broker.get_declared_delay_queues(), "declared"
        )

    if kind == "RedisBroker":
        from otel_queue_plugins.brokers.on_redis.client import client_like
        from otel_queue_plugins.brokers.on_redis.dramatiq import DramatiqOnRedis
        from otel_queue_plugins.brokers.on_redis.dramatiq_keys import Keys

        return DramatiqOnRedis(
            Source(framework="dramatiq", system="redis", url=_redis_url(broker)),
            lambda: client_like(broker.client, timeout),
            Keys(namespace=broker.namespace, heartbeat_timeout=broker.heartbeat_timeout / 1000),
            declared=declared,
            attempts=attempts,
            clock=clock,
        )
    if kind == "RabbitmqBroker":
        found = broker.parameters
        parameters = found if isinstance(found, list) else [found]
        return _on_rabbitmq(parameters, declared, attempts, management_url, timeout)
    if kind == "StubBroker":
        source = Source(framework="dramatiq", system="stub", url="stub://")
        return DramatiqInMemory(source, broker, declared=declared, attempts=attempts)
    system = type(broker).__name__.lower().removesuffix("broker")
    source = Source(framework="dramatiq", system=system, url=f"{system}://")
    return UnknownStorage(source, _OTHER, configured=declared)


def storage_at(
    url: str,
    *,
    queues: Sequence[str],
    namespace: str,
    management_url: str | None,
    timeout: float,
    clock: Callable[[], float],
) -> Storage:
    """The storage at `url`, with these queues."""
    scheme = urlsplit(url).scheme

    def named() -> dict[str, str]:
        return dict.fromkeys(queues, "named")

    if scheme in {"redis", "rediss", "unix"}:
        from otel_queue_plugins.brokers.on_redis.client import client_to
        from otel_queue_plugins.brokers.on_redis.dramatiq import DramatiqOnRedis
        from otel_queue_plugins.brokers.on_redis.dramatiq_keys import Keys

        return DramatiqOnRedis(
            Source(framework="dramatiq", system="redis", url=without_password(url)),
            lambda: client_to(url, timeout),
            Keys(namespace=namespace),
            declared=named,
            attempts=no_limit,
            clock=clock,
        )
    if scheme in {"amqp", "amqps"}:
        import pika

        parameters = [pika.URLParameters(each) for each in url.split(";")]
        return _on_rabbitmq(parameters, named, no_limit, management_url, timeout)
    source = Source(framework="dramatiq", system=scheme, url=without_password(url))
    return UnknownStorage(source, _OTHER, configured=named)


def _on_rabbitmq(
    parameters: Sequence[Any],
    declared: Names,
    attempts: Attempts,
    management_url: str | None,
    timeout: float,
) -> Storage:
    from otel_queue_plugins.brokers.on_rabbitmq.dramatiq import DramatiqOnRabbitmq
    from otel_queue_plugins.brokers.on_rabbitmq.pika_client import PikaSession

    first = parameters[0]
    scheme = "amqps" if first.ssl_options else "amqp"
    url = f"{scheme}://{first.host}:{first.port}/{first.virtual_host.lstrip('/')}"
    management = None
    if management_url is not None:
        management = Management(
            management_url,
            user=getattr(first.credentials, "username", "guest"),
            password=getattr(first.credentials, "password", "guest"),
            vhost=first.virtual_host,
            timeout=timeout,
        )
    return DramatiqOnRabbitmq(
        Source(framework="dramatiq", system="rabbitmq", url=url),
        PikaSession(parameters, timeout),
        Api(management),
        declared=declared,
        attempts=attempts,
    )


def _redis_url(broker: Any) -> str:
    settings = broker.client.connection_pool.connection_kwargs
    if "path" in settings:
        return f"unix://{settings['path']}"
    host, port = settings.get("host", "localhost"), settings.get("port", 6379)
    return f"redis://{host}:{port}/{settings.get('db', 0)}"


def _attempts_of(broker: Any) -> Attempts:
    """How often the actors of `broker` are tried at most; None where something else decides."""

    def attempts(name: str) -> int | None:
        from dramatiq.middleware import Retries

        actor = broker.actors.get(name)
        policy = next((each for each in broker.middleware if isinstance(each, Retries)), None)
        if actor is None or policy is None:
            return None
        if actor.options.get("retry_when", policy.retry_when) is not None:
            return None
        limit = actor.options.get("max_retries", policy.max_retries)
        return max(limit, 0) + 1 if isinstance(limit, int) else None

    return attempts
