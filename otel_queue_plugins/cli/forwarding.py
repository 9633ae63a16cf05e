"""Export requests passed on, as they came, to a second OTLP/HTTP endpoint."""

from __future__ import annotations

import queue
import threading
import urllib.request
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_REQUEST_TIMEOUT_S = 5.0
_MAX_WAITING = 1000


class RawExport(NamedTuple):
    """One export request as it was on the wire: path (`/v1/traces`, ...), lower-case headers."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Forwarder:
    """Sends raw export requests to `endpoint` from a thread of its own.

    `endpoint` is the base URL, without `/v1/...`. Nothing here raises into the receiver: what the
    endpoint did not take is counted in `failures`.
    """

    def __init__(self, endpoint: str, headers: Mapping[str, str] | None = None) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._headers = dict(headers or {})
        self._waiting: queue.Queue[RawExport | None] = queue.Queue(_MAX_WAITING)
        self._failures: list[str] = []
        self._thread: threading.Thread | None = None

    @property
    def failures(self) -> tuple[str, ...]:
        """One line for each request that did not get through."""
        return tuple(self._failures)

    def start(self) -> None:
        """Begin to send."""
        self._thread = threading.Thread(target=self._run, name="otlp-forwarder", daemon=True)
        self._thread.start()

    def put(self, export: RawExport) -> None:
        """Queue a request; a full queue is a failure, never a wait."""
        try:
            self._waiting.put_nowait(export)
        except queue.Full:
            self._failures.append(f"{export.path}: more than {_MAX_WAITING} requests waiting")

    def stop(self, timeout: float) -> None:
        """Send what is waiting, for at most `timeout` seconds."""
        if self._thread is None:
            return
        try:
            self._waiting.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._failures.append(f"{self._endpoint}: not finished after {timeout:g} s")

    def _run(self) -> None:
        while (export := self._waiting.get()) is not None:
            self._try(export)

    def _try(self, export: RawExport) -> None:
        try:
            self._send(export)
        except Exception as error:  # noqa: BLE001 - any failure is a fact to show, not to raise
            self._failures.append(f"{self._endpoint}{export.path}: {error}")

    def _send(self, export: RawExport) -> None:
        passed_on = ("content-type", "content-encoding")
        headers = {name: export.headers[name] for name in passed_on if name in export.headers}
        request = urllib.request.Request(  # noqa: S310 - the user's own endpoint
            self._endpoint + export.path, export.body, headers | self._headers
        )
        with urllib.request.urlopen(request, timeout=_REQUEST_TIMEOUT_S):  # noqa: S310
            pass
