"""Calls to a broker: hidden from client instrumentations, tried again where that is safe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from opentelemetry import context

from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.brokers.leases import Held, Leases
from otel_queue_plugins.brokers.storage import Storage
from otel_queue_plugins.core.api import suppression

_T = TypeVar("_T")


class Asking:
    """Makes calls to one storage. A failure drops its connection, and is a BrokerError."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def read(self, look: Callable[[], _T]) -> _T:
        """`look()`; once more if the connection that it used had died since the last call."""
        was_connected = self._storage.is_connected
        try:
            return self.once(look)
        except BrokerError as error:
            if not was_connected or isinstance(error.__cause__, self._storage.timeouts):
                raise
        return self.once(look)

    def once(self, ask: Callable[[], _T]) -> _T:
        """`ask()`, which may change something."""
        token = suppression.suppress_instrumentation()
        try:
            return ask()
        except self._storage.errors as error:
            self._storage.close()
            text = " ".join(str(error).split()) or type(error).__name__
            raise BrokerError(f"{self._storage.source.url}: {text}") from error
        finally:
            context.detach(token)


class AskedLeases:
    """Leases whose failures are BrokerErrors, and which client instrumentations do not see."""

    def __init__(self, asking: Asking, leases: Leases) -> None:
        self._asking = asking
        self._leases = leases

    def hold(self, queues: Sequence[str]) -> Held:
        """See `leases.Leases`."""
        return self._asking.read(lambda: self._leases.hold(queues))

    def close(self) -> None:
        """See `leases.Leases`."""
        self._asking.once(self._leases.close)
