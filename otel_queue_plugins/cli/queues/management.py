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


def derived(broker_url: str, timeout: float) -> str | None:
    """The URL of the API beside the broker; None where none answers within a second."""
    parts = urlsplit(broker_url)
    host, is_secure = parts.hostname or "localhost", parts.scheme == "amqps"
    scheme, port = ("https", 15671) if is_secure else ("http", 15672)
    shown = f"[{host}]" if ":" in host else host
    is_there = _answers(host, port, min(timeout, _TIMEOUT_S), is_secure=is_secure)
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
