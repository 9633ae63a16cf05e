"""Record a span for each ack and reject of a message, with the option `settle_spans`.

The main process settles. Without `acks_late` it does so before the task runs, so the span begins
before the process span whose child it is. RabbitMQ does not answer: there it lasts until the ack is
written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context

from otel_queue_plugins.celery.main_process.pool_deliveries import PoolDeliveries, is_handled
from otel_queue_plugins.core.api.suppression import suppress_instrumentation
from otel_queue_plugins.core.operation import ProcessOperation, current_delivery
from otel_queue_plugins.core.safety import do_nothing, never_raises

if TYPE_CHECKING:
    from otel_queue_plugins.core.spans.settle import Settlement
    from otel_queue_plugins.core.telemetry import QueueTelemetry

_METHODS: Final[tuple[Settlement, ...]] = ("ack", "reject")


class Settlements:
    """Puts a wrapper around `ack` and `reject` of single messages."""

    def __init__(self, telemetry: QueueTelemetry, deliveries: PoolDeliveries) -> None:
        self._telemetry = telemetry
        self._deliveries = deliveries

    @property
    def are_recorded(self) -> bool:
        """Whether the option asks for spans."""
        return self._telemetry.options.settle_spans

    def methods(self, request_class: Any) -> dict[str, Any]:
        """Return `acknowledge` and `reject` for a subclass of `request_class`; none if unasked."""
        if not self.are_recorded:
            return {}
        return {
            "acknowledge": self._before(request_class.acknowledge),
            "reject": self._before(request_class.reject),
        }

    @never_raises(do_nothing)
    def observe(self, message: Any, operation: ProcessOperation) -> None:
        """Record how `message` is settled from now on, as a part of `operation`."""
        if self.are_recorded and _METHODS[0] not in vars(message):
            for name in _METHODS:
                setattr(message, name, self._settling(operation, name, getattr(message, name)))

    def _before(self, settle: Callable[..., Any]) -> Callable[..., Any]:
        def observed(request: Any, *args: Any, **kwargs: Any) -> Any:
            self._observe_request(request)
            return settle(request, *args, **kwargs)

        return observed

    @never_raises(do_nothing)
    def _observe_request(self, request: Any) -> None:
        # One that is handled may not have a receipt, and its process span is open.
        operation = current_delivery.get() if is_handled(request) else None
        self.observe(request.message, operation or self._deliveries.reference_process(request))

    def _settling(
        self, operation: ProcessOperation, settlement: Settlement, call: Callable[..., Any]
    ) -> Callable[..., Any]:
        telemetry = self._telemetry

        def settle(*args: Any, **kwargs: Any) -> Any:
            opened = telemetry.start_settle(operation, settlement)
            token = None if telemetry.options.broker_spans else suppress_instrumentation()
            try:
                result = call(*args, **kwargs)
            except BaseException as error:
                telemetry.end_settle(opened, error)
                raise
            else:
                telemetry.end_settle(opened)
                return result
            finally:
                if token is not None:
                    otel_context.detach(token)

        return settle
