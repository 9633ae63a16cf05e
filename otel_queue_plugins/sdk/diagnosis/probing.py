"""Find out by a short connection which protocol an open port speaks."""

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
_VALID_FOR: Final = 60.0
_found: Final[dict[tuple[str, int], tuple[float, str]]] = {}
# To this a server that speaks only HTTP/2 answers with a frame.
_REQUEST: Final = b"OPTIONS / HTTP/1.1\r\nHost: otlp\r\nConnection: close\r\n\r\n"
_FRAME: Final = 9
_FRAME_TYPE: Final = 3
_FIRST_FRAMES: Final = (4, 7)  # SETTINGS, GOAWAY


def protocol_at(host: str, port: int) -> str:
    """One of the protocols above, "" if it is not found out within a second.

    The result is kept for a minute.
    """
    probed_at, found = _found.get((host, port), (-_VALID_FOR, ""))
    if time.monotonic() - probed_at < _VALID_FOR:
        return found
    found = _probe(host, port)
    _found[host, port] = (time.monotonic(), found)
    return found


def forget() -> None:
    """Forget all results."""
    _found.clear()


def _probe(host: str, port: int) -> str:
    if getproxies():  # the exporter connects to the proxy
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
            return TLS if "ALERT" in (error.reason or "") else ""  # it refuses us, but by TLS
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
