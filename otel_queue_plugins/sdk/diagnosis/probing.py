"""What an open port speaks, where a failed export does not tell: one short look."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Final
from urllib.request import getproxies

TLS: Final = "TLS"
TLS_HTTP2: Final = "TLS and HTTP/2"
HTTP1: Final = "HTTP/1"
HTTP2: Final = "HTTP/2"

_SECONDS: Final = 0.5
_REMEMBERED: Final = 60.0
_found: Final[dict[tuple[str, int], tuple[float, str]]] = {}
# A server of HTTP/2 alone begins with a frame all the same.
_REQUEST: Final = b"OPTIONS / HTTP/1.1\r\nHost: otlp\r\nConnection: close\r\n\r\n"
_FRAME: Final = 9
_FRAME_TYPE: Final = 3
_FIRST_FRAMES: Final = (4, 7)  # SETTINGS, GOAWAY


def spoken_at(host: str, port: int) -> str:
    """One of the above; "" if that cannot be told within a second.

    What was found counts for a minute.
    """
    looked_at, found = _found.get((host, port), (-_REMEMBERED, ""))
    if time.monotonic() - looked_at < _REMEMBERED:
        return found
    found = _look(host, port)
    _found[host, port] = (time.monotonic(), found)
    return found


def forget() -> None:
    """Look anew."""
    _found.clear()


def _look(host: str, port: int) -> str:
    if getproxies():  # it would go another way than the exporter does
        return ""
    try:
        return _over_tls(host, port) or _plain(host, port)
    except OSError:
        return ""


def _over_tls(host: str, port: int) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection((host, port), _SECONDS) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=host) as secured:
                return TLS_HTTP2 if secured.selected_alpn_protocol() == "h2" else TLS
        except ssl.SSLError as error:
            return TLS if "ALERT" in (error.reason or "") else ""  # TLS, which does not want us
        except OSError:
            return ""


def _plain(host: str, port: int) -> str:
    with socket.create_connection((host, port), _SECONDS) as connection:
        connection.sendall(_REQUEST)
        first = connection.recv(_FRAME)
    if first.startswith(b"HTTP/1"):
        return HTTP1
    is_frame = len(first) == _FRAME and first[_FRAME_TYPE] in _FIRST_FRAMES
    return HTTP2 if is_frame else ""
