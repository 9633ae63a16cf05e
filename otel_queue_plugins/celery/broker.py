"""The broker address in the settings of an app. No connection is opened."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from otel_queue_plugins.core.messages import BrokerAddress

SYSTEMS: Final = {
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
    "pyamqp": "rabbitmq",
    "librabbitmq": "rabbitmq",
    "qpid": "qpid",
    "rediss": "redis",
    "sentinel": "redis",
    "valkeys": "valkey",
    "sqs": "aws_sqs",
    "gcpubsub": "gcp_pubsub",
    "confluentkafka": "kafka",
    "azureservicebus": "servicebus",
    "azurestoragequeues": "azure_storage_queues",
    "sqla": "sqlalchemy",
}
_DEFAULT_PORTS: Final = {
    "amqps": 5671,
    "sentinel": 26379,
    "rabbitmq": 5672,
    "redis": 6379,
    "valkey": 6379,
    "kafka": 9092,
    "mongodb": 27017,
}
_WITHOUT_SERVER: Final = {"memory", "filesystem", "sqlalchemy", "django", "pyro"}
# Their URLs have keys in the place of a host, which must not be exported.
_WITHOUT_HOST: Final = {"aws_sqs", "gcp_pubsub", "servicebus", "azure_storage_queues"}


def address_of(app: Any, *, reading: bool = False) -> BrokerAddress:
    """Return the address of the broker that `app` writes to, or reads from.

    Without a setting the system is that of `amqp`, Celery's default.
    """
    conf = app.conf
    url = _first_url(conf.broker_read_url if reading else conf.broker_write_url)
    return address_in(url, conf.broker_transport, conf.broker_port)


def address_in(
    url: str | None, transport: str | None = None, port: int | None = None
) -> BrokerAddress:
    """Return the address in `url`; `transport` and `port` are used if the URL has none."""
    text = url or ""
    if "://" not in text:
        is_scheme = text in SYSTEMS or text in SYSTEMS.values() or text in _WITHOUT_SERVER
        text = f"{text}://" if is_scheme else f"{transport or 'amqp'}://{text}"
    scheme, _, rest = text.partition("://")
    name, _, variant = scheme.partition("+")
    system = SYSTEMS.get(name, name)
    if system in _WITHOUT_SERVER or system in _WITHOUT_HOST:
        return BrokerAddress(system=system)
    if variant == "socket":
        return BrokerAddress(system=system, address=f"/{rest.lstrip('/').partition('?')[0]}")
    server = _server(f"//{rest}", port)
    if server is None:
        return BrokerAddress(system=system)
    default = _DEFAULT_PORTS.get(name) or _DEFAULT_PORTS.get(system)
    return BrokerAddress(system=system, address=server[0] or "localhost", port=server[1] or default)


def _server(location: str, port: int | None) -> tuple[str, int | None] | None:
    """Return host and port, the first of several hosts; None if the URL is invalid."""
    try:
        parts = urlsplit(location)
        return (parts.hostname or "").split(",")[0], parts.port or port
    except ValueError:
        return None


def _first_url(url: Any) -> str | None:
    """Return the first of several URLs: a list, or text with semicolons, for failover."""
    if isinstance(url, (list, tuple)):
        url = url[0] if url else None
    return url.split(";")[0] if isinstance(url, str) else None
