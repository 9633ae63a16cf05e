"""Record a span for each ack and nack of a delivery, with the option `settle_spans`.

The first hop of a delayed message has no process span, so its ack has no span either. With
RabbitMQ the span lasts until the ack is handed to the connection's thread; there is no reply.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.dramatiq.consumers import TracedConsumer
from otel_queue_plugins.dramatiq.deliveries import Deliveries
from otel_queue_plugins.dramatiq.delivery_state import ENDED

if TYPE_CHECKING:
    from dramatiq import Consumer, MessageProxy

    from otel_queue_plugins.core.operation import ProcessOperation
    from otel_queue_plugins.core.spans.settle import Settlement
    from otel_queue_plugins.core.telemetry import QueueTelemetry
    from otel_queue_plugins.dramatiq.delivery_state import DeliveryState

_OPERATION: Final = "_otel_queue_operation"


class SettledDeliveries(Deliveries):
    """Deliveries whose messages keep their operation, for the span of the ack or nack."""

    def _end(self, state: DeliveryState) -> None:
        if state is not ENDED:
            vars(state.message)[_OPERATION] = state.operation
        super()._end(state)

    def _record_unknown_actor(self, message: Any) -> ProcessOperation:
        operation = super()._record_unknown_actor(message)
        vars(message)[_OPERATION] = operation
        return operation


class SettlingConsumer(TracedConsumer):
    """A consumer with a span for each call of `ack` or `nack`, also for a repeated one."""

    def __init__(self, consumer: Any, telemetry: QueueTelemetry) -> None:
        super().__init__(consumer)  # the proxy keeps `_self_...` attributes itself
        self._self_telemetry = telemetry

    def __next__(self) -> MessageProxy | None:
        return next(self.__wrapped__)

    def ack(self, message: MessageProxy) -> None:
        """Acknowledge `message`."""
        self._settle("ack", self.__wrapped__.ack, message)

    def nack(self, message: MessageProxy) -> None:
        """Move `message` to the dead-letter queue."""
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


def settling(
    kind: type[TracedConsumer], telemetry: QueueTelemetry
) -> Callable[[Consumer], SettlingConsumer]:
    """Make the function that puts a consumer into a `kind`, and this into a `SettlingConsumer`."""
    return lambda consumer: SettlingConsumer(kind(consumer), telemetry)
