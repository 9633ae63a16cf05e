"""What an app's configuration says about its broker. No connection is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from kombu.utils.url import parse_url

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
_DEFAULT_PORTS: Final = {"rabbitmq": 5672, "redis": 6379}


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """`messaging.system`, `server.address` and `server.port`; None where there is no server."""

    system: str
    address: str | None = None
    port: int | None = None


def of_app(app: Any, *, reading: bool = False) -> Broker:
    """The broker that `app` sends to, or reads from. In doubt `amqp`, Celery's default."""
    conf = app.conf
    url = (conf.broker_read_url if reading else conf.broker_write_url) or conf.broker_url
    return of_url(_first(url), conf.broker_transport)


def of_url(url: str | None, transport: str | None = None) -> Broker:
    """The broker at `url`; `transport` is Celery's own name for it where the URL has none."""
    if not url:
        return of_url(f"{transport or 'amqp'}://localhost") if transport != "memory" else _memory()
    scheme = url.partition("://")[0] if "://" in url else url
    system = SYSTEMS.get(scheme.split("+")[0], scheme.split("+")[0])
    try:
        parts = parse_url(url) if "://" in url else {}
    except ValueError:
        return Broker(system=system)
    address = _address(scheme, parts.get("hostname"), system)
    port = parts.get("port") or _DEFAULT_PORTS.get(system)
    return Broker(system=system, address=address, port=port if address else None)


def _first(url: Any) -> str | None:
    """Celery takes several URLs, as a list or with semicolons between, for failover."""
    if isinstance(url, (list, tuple)):
        url = url[0] if url else None
    return url.split(";")[0] if isinstance(url, str) else None


def _address(scheme: str, host: str | None, system: str) -> str | None:
    if system in {"memory", "filesystem", "sqlalchemy", "aws_sqs", "gcp_pubsub"} or "+" in scheme:
        return None
    return host or "localhost"


def _memory() -> Broker:
    return Broker(system="memory")
