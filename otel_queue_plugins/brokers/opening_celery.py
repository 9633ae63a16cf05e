"""From a kombu connection that nobody uses to the storage behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.brokers.facts import Source
from otel_queue_plugins.brokers.formats.celery_messages import Attempts, no_limit
from otel_queue_plugins.brokers.in_memory.celery import CeleryInMemory
from otel_queue_plugins.brokers.in_memory.unknown import UnknownStorage
from otel_queue_plugins.brokers.on_rabbitmq.dead_letters import Declaration
from otel_queue_plugins.brokers.on_rabbitmq.management import Management
from otel_queue_plugins.brokers.on_rabbitmq.reach import Api
from otel_queue_plugins.brokers.storage import Storage
from otel_queue_plugins.brokers.urls import without_password

if TYPE_CHECKING:
    from redis import Redis

_SYSTEMS: Final = {
    "amqp": "rabbitmq",
    "sqs": "aws_sqs",
    "gcpubsub": "gcp_pubsub",
    "confluentkafka": "kafka",
    "azureservicebus": "servicebus",
    "azurestoragequeues": "azure_storage_queues",
}
SENTINEL: Final = "sentinel"
_MASTER: Final = "master_name"
_NO_MASTER: Final = "'master_name' is not among the transport options, which Sentinel needs"
_NO_CLIENT: Final = "the client library of this transport is not installed"
_OTHER: Final = "asking this transport for the size of a queue may create the queue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues:
    """What an app declares: its queues, and how often it tries a task."""

    declarations: Callable[[], Mapping[str, Declaration]]
    attempts: Attempts
    source: str

    @classmethod
    def of_app(cls, app: Any) -> Queues:
        """As the app has them when they are asked for."""

        def attempts(task: str) -> int | None:
            retries = getattr(app.tasks.get(task), "max_retries", None)
            return retries + 1 if isinstance(retries, int) else None

        return cls(declarations=lambda: _declared(app), attempts=attempts, source="configured")

    @classmethod
    def of_names(cls, names: Sequence[str]) -> Queues:
        """Queues of which the names are all that is known."""
        found = {name: Declaration(routing_key=name) for name in names}
        return cls(declarations=lambda: found, attempts=no_limit, source="named")

    def names(self) -> dict[str, str]:
        """The names, each with where it comes from."""
        return dict.fromkeys(self.declarations(), self.source)


def storage(
    url: str,
    connection: Callable[[], Any],
    queues: Queues,
    *,
    management_url: str | None,
    timeout: float,
    clock: Callable[[], float],
) -> Storage:
    """The storage behind what `connection` makes: connections of kombu to `url`, not open yet."""
    try:
        first = connection()
        transport = first.get_transport_cls()
    except ImportError as error:
        scheme = url.partition(":")[0]
        reason = f"{_NO_CLIENT}: {error}"
        return UnknownStorage(_source(scheme, f"{scheme}://"), reason, configured=queues.names)
    kind = transport.driver_type
    source = _source(kind, without_password(first.as_uri(include_password=False)))
    if kind == "amqp":
        return _on_rabbitmq(source, connection, queues, management_url, timeout)
    if kind == "redis" and (first.transport_cls != SENTINEL or _MASTER in first.transport_options):
        return _on_redis(source, connection, queues, timeout, clock)
    if kind == "memory":
        return CeleryInMemory(
            source,
            lambda: transport.Channel.queues,
            configured=queues.names,
            attempts=queues.attempts,
        )
    reason = _NO_MASTER if kind == "redis" else _OTHER
    return UnknownStorage(source, reason, configured=queues.names)


def _source(kind: str, url: str) -> Source:
    return Source(framework="celery", system=_SYSTEMS.get(kind, kind), url=url)


def _declared(app: Any) -> dict[str, Declaration]:
    return {
        name: Declaration(
            exchange=queue.exchange.name if queue.exchange else "",
            routing_key=queue.routing_key or "",
            arguments=queue.queue_arguments or {},
        )
        for name, queue in app.amqp.queues.items()
    }


def _on_redis(
    source: Source,
    connection: Callable[[], Any],
    queues: Queues,
    timeout: float,
    clock: Callable[[], float],
) -> Storage:
    from otel_queue_plugins.brokers.on_redis import kombu_settings
    from otel_queue_plugins.brokers.on_redis.celery import CeleryOnRedis
    from otel_queue_plugins.brokers.on_redis.celery_keys import keys_of
    from otel_queue_plugins.brokers.on_redis.client import client, client_by_sentinel

    def connect() -> Redis:
        made = connection()
        settings, connection_class = kombu_settings.of(made)
        if made.transport_cls == SENTINEL:
            return client_by_sentinel(settings, kombu_settings.sentinels_of(made), timeout)
        return client(settings, connection_class, timeout)

    first = connection()
    channel = first.get_transport_cls().Channel
    return CeleryOnRedis(
        source,
        connect,
        keys_of(channel, first.transport_options),
        configured=queues.names,
        attempts=queues.attempts,
        clock=clock,
    )


def _on_rabbitmq(
    source: Source,
    connection: Callable[[], Any],
    queues: Queues,
    management_url: str | None,
    timeout: float,
) -> Storage:
    from otel_queue_plugins.brokers.on_rabbitmq.celery import CeleryOnRabbitmq
    from otel_queue_plugins.brokers.on_rabbitmq.pyamqp import PyAmqpSession

    first = connection()
    management = None
    if management_url is not None:
        password = first.password() if callable(first.password) else first.password
        management = Management(
            management_url,
            user=first.userid or "guest",
            password=password or "guest",
            vhost=first.virtual_host or "/",
            timeout=timeout,
        )
    return CeleryOnRabbitmq(
        source,
        PyAmqpSession(connection, timeout),
        Api(management),
        configured=queues.names,
        declarations=queues.declarations,
        attempts=queues.attempts,
    )
