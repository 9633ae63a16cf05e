"""What an app's configuration says about its broker. No connection is opened."""

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
_NO_SERVER: Final = {"memory", "filesystem", "sqlalchemy", "django", "pyro"}
# Their URLs hold keys where others have a host, and a key may hold anything.
_HOSTED: Final = {"aws_sqs", "gcp_pubsub", "servicebus", "azure_storage_queues"}


def of_app(app: Any, *, reading: bool = False) -> BrokerAddress:
    """The broker that `app` sends to, or reads from. In doubt `amqp`, Celery's default."""
    conf = app.conf
    url = _first(conf.broker_read_url if reading else conf.broker_write_url)
    return of_url(url, conf.broker_transport, conf.broker_port)


def of_url(url: str | None, transport: str | None = None, port: int | None = None) -> BrokerAddress:
    """The address in `url`; `transport` and `port` are the app's, where the URL has none."""
    text = url or ""
    if "://" not in text:
        known = text in SYSTEMS or text in SYSTEMS.values() or text in _NO_SERVER
        text = f"{text}://" if known else f"{transport or 'amqp'}://{text}"
    scheme, _, rest = text.partition("://")
    name, _, variant = scheme.partition("+")
    system = SYSTEMS.get(name, name)
    if system in _NO_SERVER or system in _HOSTED:
        return BrokerAddress(system=system)
    if variant == "socket":
        return BrokerAddress(system=system, address=f"/{rest.lstrip('/').partition('?')[0]}")
    found = _server(f"//{rest}", port)
    if found is None:
        return BrokerAddress(system=system)
    default = _DEFAULT_PORTS.get(name) or _DEFAULT_PORTS.get(system)
    return BrokerAddress(system=system, address=found[0] or "localhost", port=found[1] or default)


def _server(location: str, port: int | None) -> tuple[str, int | None] | None:
    """Host and port, or None where a URL is none; the first of several hosts."""
    try:
        parts = urlsplit(location)
        return (parts.hostname or "").split(",")[0], parts.port or port
    except ValueError:
        return None


def _first(url: Any) -> str | None:
    """Celery takes several URLs, as a list or with semicolons between, for failover."""
    if isinstance(url, (list, tuple)):
        url = url[0] if url else None
    return url.split(";")[0] if isinstance(url, str) else None
