"""Read the address of a broker's server from its configuration, without a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.core.messages import BrokerAddress

if TYPE_CHECKING:
    from dramatiq import Broker

_SYSTEMS: Final = {
    "RedisBroker": "redis",
    "RabbitmqBroker": "rabbitmq",
    "StubBroker": "stub",
    "SQSBroker": "aws_sqs",
}


def address_of(broker: Broker) -> BrokerAddress:
    """Return the address of the server of `broker`; the first, if there are several."""
    system = _system(type(broker))
    try:
        host, port = _server(broker, system)
    except Exception:  # noqa: BLE001 - a custom client may lack these attributes
        host, port = None, None
    return BrokerAddress(
        system=system,
        address=host if isinstance(host, str) else None,
        port=port if isinstance(port, int) else None,
    )


def _system(broker_type: type) -> str:
    for base in broker_type.__mro__:
        if base.__name__ in _SYSTEMS:
            return _SYSTEMS[base.__name__]
    return broker_type.__name__.lower().removesuffix("broker") or "dramatiq"


def _server(broker: Any, system: str) -> tuple[object, object]:
    if system == "redis":
        settings = broker.client.connection_pool.connection_kwargs
        return settings.get("host") or settings.get("path"), settings.get("port")
    if system == "rabbitmq":
        parameters = broker.parameters
        first = parameters[0] if isinstance(parameters, list) else parameters
        return first.host, first.port
    return None, None
