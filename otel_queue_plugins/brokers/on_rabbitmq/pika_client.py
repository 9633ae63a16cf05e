"""AMQP through pika, which Dramatiq brings along, with the broker's address, user and TLS."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from otel_queue_plugins.brokers.bounded import BoundedThread
from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.on_rabbitmq.quiet_logs import quieten_pika
from otel_queue_plugins.brokers.on_rabbitmq.session import (
    NO_LOCKS,
    Declared,
    Got,
    UnroutableError,
)

_T = TypeVar("_T")

_HEARTBEAT: Final = 60
_NOT_FOUND: Final = 404
_REFUSED: Final = 403
_LOCKED: Final = 405
_PROPERTIES: Final = (
    *("content_type", "content_encoding", "delivery_mode", "priority", "correlation_id"),
    *("reply_to", "expiration", "message_id", "timestamp", "type", "user_id", "app_id"),
)


class PikaSession:
    """See `session.Session`. `parameters` are those of the servers, tried one after the other."""

    def __init__(
        self, parameters: Sequence[Any], timeout: float, heartbeat: int = _HEARTBEAT
    ) -> None:
        self.errors = _errors()
        self.timeouts: tuple[type[Exception], ...] = (TimeoutError,)
        self._parameters = [_bounded(each, timeout, heartbeat) for each in parameters]
        self._timeout = timeout
        self._current: tuple[BoundedThread, _Link] | None = None

    @property
    def is_open(self) -> bool:
        """See `session.Session`."""
        return self._current is not None

    def declared(self, queue: str) -> Declared | None:
        """See `session.Session`."""
        return self._call(lambda link: link.declared(queue))

    def get(self, queue: str) -> Got | None:
        """See `session.Session`."""
        method, properties, body = self._call(lambda link: link.channel().basic_get(queue))
        if method is None:
            return None
        said = {name: getattr(properties, name) for name in _PROPERTIES}
        return Got(
            tag=method.delivery_tag,
            body=body,
            headers=properties.headers or {},
            properties={name: value for name, value in said.items() if value is not None},
            redelivered=method.redelivered,
        )

    def ack(self, got: Got) -> None:
        """See `session.Session`."""
        self._call(lambda link: link.channel().basic_ack(got.tag))

    def give_back(self, got: Got) -> None:
        """See `session.Session`."""
        self._call(lambda link: link.channel().basic_reject(got.tag, requeue=True))

    def publish(self, queue: str, got: Got) -> None:
        """See `session.Session`."""
        import pika
        from pika.exceptions import UnroutableError as NoQueueError

        properties = pika.BasicProperties(headers=dict(got.headers) or None, **got.properties)

        def send(link: _Link) -> None:
            link.channel().basic_publish("", queue, got.body, properties, mandatory=True)

        try:
            self._call(send)
        except NoQueueError as error:
            raise UnroutableError(f"there is no queue {queue}") from error

    def purge(self, queue: str) -> int:
        """See `session.Session`."""
        answer = self._call(lambda link: link.channel().queue_purge(queue))
        return int(answer.method.message_count)

    def lock(self, queue: str) -> bool:
        """See `session.Session`."""
        return self._call(lambda link: link.lock(queue))

    def unlock(self, queue: str) -> None:
        """See `session.Session`."""
        self._call(lambda link: link.channel().queue_delete(queue))

    def serve(self) -> None:
        """See `session.Session`."""
        self._call(lambda link: link.serve())

    def socket(self) -> Any:
        """See `session.Session`."""
        return None if self._current is None else self._current[1].socket()

    def another(self, *, heartbeat: int) -> PikaSession:
        """See `session.Session`."""
        return PikaSession(self._parameters, self._timeout, heartbeat)

    def close(self) -> None:
        """See `session.Session`. What hangs is left to its thread."""
        current, self._current = self._current, None
        if current is not None:
            current[0].stop()

    def _call(self, function: Callable[[_Link], _T]) -> _T:
        if self._current is None:
            link = _Link(self._parameters)
            self._current = BoundedThread(link.close), link
        thread, link = self._current
        try:
            return thread.call(lambda: function(link), self._timeout)
        except TimeoutError:
            self.close()
            raise


class _Link:
    """A connection and its channels; used by one thread alone, which may outlive its session."""

    def __init__(self, parameters: Sequence[Any]) -> None:
        self._parameters = parameters
        self._connection: Any = None
        self._looking: Any = None
        self._taking: Any = None

    def channel(self) -> Any:
        """The channel to take and publish messages with."""
        if self._taking is None:
            self._taking = self._opened().channel()
            self._taking.confirm_delivery()
        return self._taking

    def declared(self, queue: str) -> Declared | None:
        """See `session.Session`. A missing queue closes the channel, which so is of its own."""
        from pika import exceptions

        if self._looking is None:
            self._looking = self._opened().channel()
        try:
            answer = self._looking.queue_declare(queue, passive=True).method
        except exceptions.ChannelClosedByBroker as error:
            self._looking = None
            if error.reply_code in {_NOT_FOUND, _LOCKED}:
                return None
            raise
        return Declared(ready=answer.message_count, consumers=answer.consumer_count)

    def lock(self, queue: str) -> bool:
        """See `session.Session`. A refusal closes the channel."""
        from pika import exceptions

        if self._looking is None:
            self._looking = self._opened().channel()
        try:
            self._looking.queue_declare(queue, exclusive=True)
        except exceptions.ChannelClosedByBroker as error:
            self._looking = None
            if error.reply_code == _REFUSED:
                raise RefusedError(NO_LOCKS.format(queue=queue)) from error
            if error.reply_code != _LOCKED:
                raise
            return False
        return True

    def serve(self) -> None:
        """See `session.Session`."""
        self._opened().process_data_events(0)

    def socket(self) -> Any:
        """See `session.Session`. pika has no public name for it."""
        transport = getattr(getattr(self._connection, "_impl", None), "_transport", None)
        return getattr(transport, "_sock", None)

    def close(self) -> None:
        """Close the connection, if there is one. Never raises."""
        try:
            if self._connection is not None:
                self._connection.close()
        except _errors():
            return

    def _opened(self) -> Any:
        if self._connection is None:
            import pika

            quieten_pika()
            self._connection = pika.BlockingConnection(self._parameters)
        return self._connection


def _errors() -> tuple[type[Exception], ...]:
    """AssertionError is among them: pika raises it, too, when a connection ends at a bad moment."""
    from pika import exceptions

    return (exceptions.AMQPError, OSError, AssertionError, UnroutableError)


def _bounded(parameters: Any, timeout: float, heartbeat: int) -> Any:
    """A copy of connection parameters with our time-outs, and one attempt for each server."""
    ours = copy.copy(parameters)
    ours.socket_timeout = ours.stack_timeout = ours.blocked_connection_timeout = timeout
    ours.heartbeat = heartbeat
    ours.connection_attempts = 1
    ours.retry_delay = 0
    return ours
