"""Where a kombu connection to Redis goes, said as kombu's channel says it.

The channel is not asked: it pings the server when it is made, and waits for ever.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from otel_queue_plugins.brokers.on_redis.client import Sentinels

_SENTINEL_PORT: Final = 26379
_SOCKET: Final = "socket://"


def of(connection: Any) -> tuple[dict[str, Any], type[Any] | None]:
    """Settings for a connection pool, and its class of connections (None: the usual one)."""
    import redis

    settings: dict[str, Any] = {
        "username": connection.userid,
        "password": connection.password,
        "db": _database(connection.virtual_host),
        "client_name": connection.transport_options.get("client_name"),
    }
    _use_provider(settings, getattr(connection, "credential_provider", None))
    host = connection.hostname or "127.0.0.1"
    if host.startswith(_SOCKET):
        parts = urlsplit(host)
        (database,) = parse_qs(parts.query).get("virtual_host", ["0"])
        credentials = {"username": parts.username, "password": parts.password}
        place = {"path": parts.path, "db": _database(database)}
        return settings | credentials | place, redis.UnixDomainSocketConnection
    settings |= {"host": host, "port": connection.port or 6379}
    if isinstance(connection.ssl, dict):
        return settings | connection.ssl, redis.SSLConnection
    return settings, None


def sentinels_of(connection: Any) -> Sentinels:
    """The sentinels that the URLs of a kombu connection name, and the master to ask them for."""
    options = connection.transport_options
    urls = [urlsplit(url) for url in connection.alt or ()]
    places = [(url.hostname or "127.0.0.1", url.port or _SENTINEL_PORT) for url in urls]
    only = (connection.hostname or "127.0.0.1", connection.port or _SENTINEL_PORT)
    return Sentinels(
        places=places or [only],
        master=options["master_name"],
        least=options.get("min_other_sentinels", 0),
        settings=options.get("sentinel_kwargs") or {},
    )


def _database(virtual_host: Any) -> int:
    """The number of the database; ValueError where it is none, as kombu has it."""
    return int(str(virtual_host or "").lstrip("/") or 0)


def _use_provider(settings: dict[str, Any], provider: Any) -> None:
    """Let a provider of credentials, or the class that its name names, take the user's place."""
    if not provider:
        return
    if isinstance(provider, str):
        imports: Any = import_module("kombu.utils.imports")
        provider = imports.symbol_by_name(provider)()
    del settings["username"], settings["password"]
    settings["credential_provider"] = provider
