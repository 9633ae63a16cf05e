"""A span for each ack and nack of a delivery, where `settle_spans` asks for them.

The ack of a delayed message's first hop has none, as that hop has no process span. To RabbitMQ an
ack is handed on by another thread and never answered: the span is of the handing over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.dramatiq.attempt import ENDED
from otel_queue_plugins.dramatiq.consumers import TracedConsumer
from otel_queue_plugins.dramatiq.deliveries import Deliveries

if TYPE_CHECKING:
    from dramatiq import Consumer, MessageProxy

    from otel_queue_plugins.core.operation import ProcessOperation
    from otel_queue_plugins.core.spans.settle import Settlement
    from otel_queue_plugins.core.telemetry import QueueTelemetry
    from otel_queue_plugins.dramatiq.attempt import Attempt

_OPERATION: Final = "_otel_queue_operation"


class SettledDeliveries(Deliveries):
    """Deliveries that are remembered beyond their end."""

    def _end(self, attempt: Attempt) -> None:
        if attempt is not ENDED:
            vars(attempt.message)[_OPERATION] = attempt.operation
        super()._end(attempt)

    def _record_unknown(self, message: Any) -> ProcessOperation:
        operation = super()._record_unknown(message)
        vars(message)[_OPERATION] = operation
        return operation


class SettlingConsumer(TracedConsumer):
    """A consumer of ours whose acks and nacks have spans; one for each call, if it is repeated."""

    def __init__(self, consumer: Any, telemetry: QueueTelemetry) -> None:
        super().__init__(consumer)  # a proxy keeps what has this prefix, and hands on the rest
        self._self_telemetry = telemetry

    def __next__(self) -> MessageProxy | None:
        return next(self.__wrapped__)

    def ack(self, message: MessageProxy) -> None:
        """Acknowledge `message`."""
        self._settle("ack", self.__wrapped__.ack, message)

    def nack(self, message: MessageProxy) -> None:
        """Move `message` to the dead letters."""
        self._settle("nack", self.__wrapped__.nack, message)

    def _settle(
        self, settlement: Settlement, call: Callable[[MessageProxy], None], message: MessageProxy
    ) -> None:
        operation = vars(message).get(_OPERATION)
        if operation is None:
            call(message)
            return
        settle = self._self_telemetry.start_settle(operation, settlement)
        try:
            call(message)
        except BaseException as error:
            self._self_telemetry.end_settle(settle, error)
            raise
        self._self_telemetry.end_settle(settle)


def consumers(
    kind: type[TracedConsumer], telemetry: QueueTelemetry
) -> Callable[[Consumer], SettlingConsumer]:
    """What puts a settling consumer around one of `kind` around the broker's own."""
    return lambda consumer: SettlingConsumer(kind(consumer), telemetry)
