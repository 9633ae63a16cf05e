"""What a worker gets from its broker: when it arrived, and without a span for every poll."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from dramatiq import Consumer, MessageProxy
from opentelemetry import context as otel_context

from otel_queue_plugins.core.api.suppression import (
    suppress_in_empty_context,
    suppress_instrumentation,
)
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.dramatiq import pika_client
from otel_queue_plugins.dramatiq.translation import stamp_received


@never_raises(do_nothing)
def let_pika_be_quiet() -> None:
    """Where pika is instrumented, messages that it receives are traced in spite of suppression."""
    pika_client.respect_suppression()


class TracedConsumer(Consumer):
    """A consumer of a broker, which notes when a message arrives."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer

    def __next__(self) -> MessageProxy | None:
        message = next(self.consumer)
        if message is not None:
            stamp_received(message)
        return message

    def ack(self, message: MessageProxy) -> None:
        """Acknowledge `message`."""
        self.consumer.ack(message)

    def nack(self, message: MessageProxy) -> None:
        """Move `message` to the dead letters."""
        self.consumer.nack(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Give back what was not run."""
        self.consumer.requeue(messages)

    def close(self) -> None:
        """Stop consuming."""
        self.consumer.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.consumer, name)


class QuietConsumer(TracedConsumer):
    """The same, without a client span for a poll, an ack or a nack.

    Only the calls to the broker are quiet: what middleware does in the same threads is traced.
    """

    def __next__(self) -> MessageProxy | None:
        token = suppress_in_empty_context()
        try:
            message = next(self.consumer)
        finally:
            otel_context.detach(token)
        if message is not None:
            stamp_received(message)
        return message

    def ack(self, message: MessageProxy) -> None:
        """Acknowledge `message`."""
        token = suppress_instrumentation()
        try:
            self.consumer.ack(message)
        finally:
            otel_context.detach(token)

    def nack(self, message: MessageProxy) -> None:
        """Move `message` to the dead letters."""
        token = suppress_instrumentation()
        try:
            self.consumer.nack(message)
        finally:
            otel_context.detach(token)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Give back what was not run."""
        token = suppress_in_empty_context()
        try:
            self.consumer.requeue(messages)
        finally:
            otel_context.detach(token)


class Consume:
    """`broker.consume`, with consumers of ours around its own."""

    def __init__(self, consume: Callable[..., Any], kind: Callable[[Consumer], Consumer]) -> None:
        functools.update_wrapper(self, consume)
        self._consume = consume
        self._kind: Callable[[Consumer], Consumer] | None = kind

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As `Broker.consume`."""
        consumer = self._consume(*args, **kwargs)
        return consumer if self._kind is None else self._kind(consumer)

    def stop(self) -> None:
        """Become a plain call, for somebody who holds on to this."""
        self._kind = None
