"""What a worker gets from its broker: when it arrived, and without a span for every poll."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import wrapt
from dramatiq import Consumer, MessageProxy
from opentelemetry import context as otel_context

from otel_queue_plugins.core.api.suppression import (
    suppress_in_empty_context,
    suppress_instrumentation,
)
from otel_queue_plugins.core.patching import Wrapper
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.dramatiq import pika_client
from otel_queue_plugins.dramatiq.translation import stamp_received

if TYPE_CHECKING:
    _Proxy = wrapt.ObjectProxy[Consumer]
else:
    _Proxy = wrapt.ObjectProxy


@never_raises(do_nothing)
def let_pika_be_quiet() -> None:
    """Where pika is instrumented, messages that it receives are traced in spite of suppression."""
    pika_client.respect_suppression()


class TracedConsumer(_Proxy):
    """A consumer of a broker, which notes when a message arrives."""

    def __iter__(self) -> Iterator[MessageProxy | None]:
        return self  # not what the broker's own would return

    def __next__(self) -> MessageProxy | None:
        message = next(self.__wrapped__)
        if message is not None:
            stamp_received(message)
        return message


class QuietConsumer(TracedConsumer):
    """The same, without a client span for a poll, an ack or a nack.

    Only the calls to the broker are quiet: what middleware does in the same threads is traced.
    """

    def __next__(self) -> MessageProxy | None:
        token = suppress_in_empty_context()
        try:
            message = next(self.__wrapped__)
        finally:
            otel_context.detach(token)
        if message is not None:
            stamp_received(message)
        return message

    def ack(self, message: MessageProxy) -> None:
        """Acknowledge `message`."""
        token = suppress_instrumentation()
        try:
            self.__wrapped__.ack(message)
        finally:
            otel_context.detach(token)

    def nack(self, message: MessageProxy) -> None:
        """Move `message` to the dead letters."""
        token = suppress_instrumentation()
        try:
            self.__wrapped__.nack(message)
        finally:
            otel_context.detach(token)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Give back what was not run."""
        token = suppress_in_empty_context()
        try:
            self.__wrapped__.requeue(messages)
        finally:
            otel_context.detach(token)


def consuming(kind: Callable[[Consumer], Any]) -> Wrapper:
    """What goes around `Broker.consume(...)`: a consumer of that kind around the broker's own."""

    def consume(wrapped: Any, _broker: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        return kind(wrapped(*args, **kwargs))

    return consume
