"""What a worker gets from its broker: when it arrived, and without a span for every poll."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import wrapt
from opentelemetry import context as otel_context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context

from otel_queue_plugins.core.guard import never_raises, nothing
from otel_queue_plugins.dramatiq.facts import stamp_received

_SUPPRESS = ("suppress_instrumentation", _SUPPRESS_INSTRUMENTATION_KEY)


def quiet_context() -> Context:
    """The current context, in which instrumented clients trace nothing.

    The API's key has no public name; the plain one is what older instrumentations ask for.
    """
    context = otel_context.get_current()
    for key in _SUPPRESS:
        context = otel_context.set_value(key, True, context)
    return context


@never_raises(nothing)
def keep_thread_quiet() -> None:
    """For the rest of this thread's life."""
    otel_context.attach(quiet_context())


@contextmanager
def quiet() -> Iterator[None]:
    """For as long as this lasts."""
    token = otel_context.attach(quiet_context())
    try:
        yield
    finally:
        otel_context.detach(token)


class TracedConsumer(wrapt.ObjectProxy):  # type: ignore[misc]
    """A consumer that notes when a message arrives, and settles messages without a span."""

    def __iter__(self) -> TracedConsumer:
        return self

    def __next__(self) -> Any:
        message = next(self.__wrapped__)
        if message is not None:
            _stamp(message)
        return message


class QuietConsumer(TracedConsumer):
    """The same, without a client span for an ack or a nack."""

    def ack(self, message: Any) -> None:
        with quiet():
            self.__wrapped__.ack(message)

    def nack(self, message: Any) -> None:
        with quiet():
            self.__wrapped__.nack(message)


class Consume:
    """`broker.consume`, with consumers of ours around its own."""

    def __init__(self, consume: Callable[..., Any], kind: type[TracedConsumer]) -> None:
        functools.update_wrapper(self, consume)
        self._consume = consume
        self._kind: type[TracedConsumer] | None = kind

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        consumer = self._consume(*args, **kwargs)
        return consumer if self._kind is None else self._kind(consumer)

    def stop(self) -> None:
        """Become a plain call, for somebody who holds on to this."""
        self._kind = None


_stamp = never_raises(nothing)(stamp_received)
