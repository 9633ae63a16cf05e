"""Consumers around those of a broker: they set the time of receipt and suppress client spans."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import wrapt
from dramatiq import Consumer, MessageProxy
from opentelemetry import context as otel_context

from otel_queue_plugins.core.api.suppression import (
    LEGACY_KEY,
    suppress_in_empty_context,
    suppress_instrumentation,
)
from otel_queue_plugins.core.patching import Wrapper, apply
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.dramatiq import patches
from otel_queue_plugins.dramatiq.translation import set_received_at

if TYPE_CHECKING:
    _Proxy = wrapt.ObjectProxy[Consumer]
else:
    _Proxy = wrapt.ObjectProxy

Watch = Callable[[Callable[[], Any], str], Any]
"""Calls the function, which begins to consume a queue, and may put a consumer around its own."""

_PIKA_MODULE: Final = "opentelemetry.instrumentation.pika.utils"


class TracedConsumer(_Proxy):
    """A consumer that sets the time of receipt of each message."""

    def __iter__(self) -> Iterator[MessageProxy | None]:
        return self  # not what the broker's own would return

    def __next__(self) -> MessageProxy | None:
        message = next(self.__wrapped__)
        if message is not None:
            set_received_at(message)
        return message


class SuppressingConsumer(TracedConsumer):
    """A `TracedConsumer` without client spans for a poll, an ack, a nack or a requeue.

    Instrumentation is suppressed during the call to the broker only: middleware that runs in the
    same threads is traced.
    """

    def __next__(self) -> MessageProxy | None:
        token = suppress_in_empty_context()
        try:
            message = next(self.__wrapped__)
        finally:
            otel_context.detach(token)
        if message is not None:
            set_received_at(message)
        return message

    def ack(self, message: MessageProxy) -> None:
        """Acknowledge `message`."""
        token = suppress_instrumentation()
        try:
            self.__wrapped__.ack(message)
        finally:
            otel_context.detach(token)

    def nack(self, message: MessageProxy) -> None:
        """Move `message` to the dead-letter queue."""
        token = suppress_instrumentation()
        try:
            self.__wrapped__.nack(message)
        finally:
            otel_context.detach(token)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Return messages that were not processed to their queue."""
        token = suppress_in_empty_context()
        try:
            self.__wrapped__.requeue(messages)
        finally:
            otel_context.detach(token)


def wrap_consume(kind: Callable[[Consumer], Any], watch: Watch) -> Wrapper:
    """Make the wrapper of `Broker.consume(...)`, which puts a `kind` around its consumer."""

    def consume(wrapped: Any, _broker: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        queue = str(kwargs.get("queue_name", args[0] if args else ""))
        return watch(lambda: kind(wrapped(*args, **kwargs)), queue)

    return consume


@never_raises(do_nothing)
def suppress_pika_spans() -> None:
    """Patch opentelemetry-instrumentation-pika so that it respects suppression on receipt.

    Does nothing where that package has not been imported.
    """
    if _PIKA_MODULE in sys.modules:
        package = sys.modules.get("opentelemetry.instrumentation.pika.version")
        apply(patches.of_pika(_popleft), getattr(package, "__version__", None))


def _popleft(
    popleft: Callable[..., Any], received: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Wrap `ReadyMessagesDequeProxy.popleft()`."""
    if otel_context.get_value(LEGACY_KEY):
        return received.__wrapped__.popleft(*args, **kwargs)
    return popleft(*args, **kwargs)
