"""AMQP through py-amqp, which Celery brings along, with the app's address, user and TLS."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.on_rabbitmq.session import (
    NO_LOCKS,
    Declared,
    Got,
    UnroutableError,
)

_T = TypeVar("_T")

_A_MOMENT: Final = 0.001
_HEADERS: Final = "application_headers"


class PyAmqpSession:
    """See `session.Session`. `connection` makes a `kombu.Connection` that was not used before."""

    def __init__(self, connection: Callable[[], Any], timeout: float, heartbeat: int = 0) -> None:
        import amqp

        self.errors: tuple[type[Exception], ...] = (amqp.AMQPError, OSError, UnroutableError)
        self.timeouts: tuple[type[Exception], ...] = (TimeoutError,)
        self._gone: tuple[type[Exception], ...] = (amqp.NotFound, amqp.ResourceLocked)
        self._make = connection
        self._timeout = timeout
        self._heartbeat = heartbeat
        self._connection: Any = None
        self._looking: Any = None
        self._taking: Any = None
        self._returned: list[object] = []
        self._failed = False

    @property
    def is_open(self) -> bool:
        """See `session.Session`."""
        return self._connection is not None and not self._failed

    def declared(self, queue: str) -> Declared | None:
        """See `session.Session`. A missing queue closes the channel, which so is of its own."""

        def ask() -> Declared | None:
            if self._looking is None:
                self._looking = self._opened().channel()
            try:
                _, ready, consumers = self._looking.queue_declare(queue, passive=True)
            except self._gone:
                channel, self._looking = self._looking, None
                channel.close()  # py-amqp has opened it again
                return None
            return Declared(ready=ready, consumers=consumers)

        return self._call(ask)

    def get(self, queue: str) -> Got | None:
        """See `session.Session`."""
        found = self._call(lambda: self._channel().basic_get(queue))
        if found is None:
            return None
        body, properties = found.body, dict(found.properties)
        return Got(
            tag=found.delivery_info["delivery_tag"],
            body=body.encode() if isinstance(body, str) else bytes(body),
            headers=properties.pop(_HEADERS, None) or {},
            properties=properties,
            redelivered=found.delivery_info["redelivered"],
        )

    def ack(self, got: Got) -> None:
        """See `session.Session`."""
        self._call(lambda: self._channel().basic_ack(got.tag))

    def give_back(self, got: Got) -> None:
        """See `session.Session`."""
        self._call(lambda: self._channel().basic_reject(got.tag, requeue=True))

    def publish(self, queue: str, got: Got) -> None:
        """See `session.Session`."""
        import amqp

        properties = {**got.properties, _HEADERS: dict(got.headers)}
        self._returned.clear()
        self._call(
            lambda: self._channel().basic_publish_confirm(
                amqp.Message(got.body, **properties),
                exchange="",
                routing_key=queue,
                mandatory=True,
                timeout=self._timeout,
            )
        )
        if self._returned:
            raise UnroutableError(f"there is no queue {queue}")

    def purge(self, queue: str) -> int:
        """See `session.Session`."""
        return int(self._call(lambda: self._channel().queue_purge(queue)))

    def lock(self, queue: str) -> bool:
        """See `session.Session`. A refusal closes the channel."""
        import amqp

        def ask() -> bool:
            if self._looking is None:
                self._looking = self._opened().channel()
            try:
                self._looking.queue_declare(queue, exclusive=True, auto_delete=False)
            except (amqp.ResourceLocked, amqp.AccessRefused) as error:
                channel, self._looking = self._looking, None
                channel.close()
                if isinstance(error, amqp.AccessRefused):
                    raise RefusedError(NO_LOCKS.format(queue=queue)) from error
                return False
            return True

        return self._call(ask)

    def unlock(self, queue: str) -> None:
        """See `session.Session`."""
        self._call(lambda: self._channel().queue_delete(queue))

    def serve(self) -> None:
        """See `session.Session`."""
        self._call(self._serve)

    def socket(self) -> Any:
        """See `session.Session`."""
        return getattr(getattr(self._connection, "transport", None), "sock", None)

    def another(self, *, heartbeat: int) -> PyAmqpSession:
        """See `session.Session`."""
        return PyAmqpSession(self._make, self._timeout, heartbeat)

    def close(self) -> None:
        """See `session.Session`."""
        connection, self._connection = self._connection, None
        self._looking = self._taking = None
        if connection is None:
            return
        try:
            if not self._failed:  # what has failed would be waited for once more
                connection.close()
        except self.errors:
            self._failed = True
        if self._failed:
            connection.collect()

    def _serve(self) -> None:
        connection = self._opened()
        connection.send_heartbeat()
        with suppress(TimeoutError):
            connection.drain_events(timeout=_A_MOMENT)

    def _opened(self) -> Any:
        if self._connection is None:
            self._failed = False
            made = self._make()
            self._connection = self._established(made, len(made.alt) - 1)
        return self._connection

    def _established(self, made: Any, others: int) -> Any:
        """A connection to the first server that answers, of those that the URL names."""
        try:
            return self._bounded(made).establish_connection()
        except self.errors:
            if others <= 0:
                raise
        made.maybe_switch_next()
        return self._established(made, others - 1)

    def _bounded(self, made: Any) -> Any:
        """The transport of a kombu connection, with our time-outs."""
        made.connect_timeout = self._timeout
        made.heartbeat = self._heartbeat
        made.transport_options = {
            **made.transport_options,
            "read_timeout": self._timeout,
            "write_timeout": self._timeout,
        }
        return made.transport

    def _channel(self) -> Any:
        if self._taking is None:
            channel = self._taking = self._opened().channel()
            channel.auto_decode = False
            channel.events["basic_return"].add(lambda *returned: self._returned.append(returned))
        return self._taking

    def _call(self, function: Callable[[], _T]) -> _T:
        try:
            return function()
        except self.errors:
            self._failed = True
            raise
