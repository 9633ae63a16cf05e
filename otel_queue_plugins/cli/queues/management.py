"""Where RabbitMQ's management API is, if nobody has named it: on the host of the broker.

The password of the broker is sent there later. So the port is asked first without one, and counts
only if it says that it is RabbitMQ's.
"""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

_REALM: Final = "RabbitMQ Management"
_TIMEOUT_S: Final = 1.0
PORTS: Final = {"amqp": ("http", 15672), "amqps": ("https", 15671)}
"""The scheme and the port of the API, by the scheme of the broker."""


def derived(broker_url: str, timeout: float) -> str | None:
    """The URL of the API beside the broker; None where none answers within a second."""
    parts = urlsplit(broker_url)
    host, (scheme, port) = parts.hostname or "localhost", PORTS.get(parts.scheme, PORTS["amqp"])
    shown = f"[{host}]" if ":" in host else host
    is_there = _answers(host, port, min(timeout, _TIMEOUT_S), is_secure=scheme == "https")
    return f"{scheme}://{shown}:{port}" if is_there else None


def _answers(host: str, port: int, timeout: float, *, is_secure: bool) -> bool:
    kind = HTTPSConnection if is_secure else HTTPConnection
    connection = kind(host, port, timeout=timeout)
    try:
        connection.request("GET", "/api/overview")
        with connection.getresponse() as answer:
            return _REALM in (answer.getheader("WWW-Authenticate") or "")
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
