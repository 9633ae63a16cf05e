"""Deliveries without a call of their own: other code runs them, or one call several, or nobody."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

from otel_queue_plugins.core.api.connection import Connection
from otel_queue_plugins.core.carrier import propagation
from otel_queue_plugins.core.messages import Delivery, Ending
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.safety import never_raises
from otel_queue_plugins.core.spans import batch, process
from otel_queue_plugins.core.spans.batch import DeliveredMessage
from otel_queue_plugins.core.spans.operation import ProcessOperation


class DetachedDeliveries(ABC):
    """The verbs of `QueueTelemetry` for deliveries that are not what the caller is about to run."""

    options: Options
    _clock: Callable[[], int]
    _connection: Connection

    @never_raises(ProcessOperation)
    def record_undelivered(
        self,
        delivery: Delivery,
        carrier: Mapping[str, object],
        ending: Ending,
        started_at: float | None = None,
        ended_at: float | None = None,
    ) -> ProcessOperation:
        """A delivery ended in code that did not run it, or before any code did.

        `started_at` is when the task began (seconds since the epoch), None if it never did;
        `ended_at` is None for now.
        """
        operation = self._open(delivery, carrier, started_at)
        self.end_process(operation, ending, ended_at)
        return operation

    @never_raises(ProcessOperation)
    def open_process(
        self,
        delivery: Delivery,
        carrier: Mapping[str, object],
        started_at: float | None = None,
    ) -> ProcessOperation:
        """As `start_process`, but neither current nor in flight here: other code runs it.

        What belongs to the delivery is done in `with operation.inside():`.
        """
        return self._open(delivery, carrier, started_at)

    @never_raises(list[ProcessOperation])
    def start_batch(self, deliveries: Sequence[DeliveredMessage]) -> list[ProcessOperation]:
        """One call is about to process several deliveries; the first becomes current.

        End each with `end_process`, the first one last.
        """
        now = self._clock() / 1e9
        delivery, carrier = batch.first(deliveries, self.options, now), deliveries[0][1]
        operations = [self.start_process(delivery, carrier, now)]
        here = operations[0].span.get_span_context()
        for delivery, carrier in deliveries[1:]:
            operation = self._open(batch.other(delivery, here), carrier, now)
            if operation.template is not None:
                self._connection.counts.add_in_flight(operation, operation.template)
            operations.append(operation)
        return operations

    @never_raises(ProcessOperation)
    def reference_process(
        self,
        delivery: Delivery,
        carrier: Mapping[str, object],
        started_at: float | None = None,
    ) -> ProcessOperation:
        """As `open_process`, for a delivery that other code has recorded, or will."""
        incoming = propagation.read(carrier)
        if not self.connect():
            return ProcessOperation(delivery, incoming)
        return process.reference_span(
            self._connection, delivery, incoming, self.options, started_at
        )

    @abstractmethod
    def connect(self) -> bool:
        """Whether anybody collects telemetry."""

    @abstractmethod
    def start_process(
        self,
        delivery: Delivery,
        carrier: Mapping[str, object] | None,
        started_at: float | None = None,
    ) -> ProcessOperation:
        """A delivery begins."""

    @abstractmethod
    def end_process(
        self, operation: ProcessOperation, ending: Ending, ended_at: float | None = None
    ) -> None:
        """The framework has decided how the delivery ended."""

    @abstractmethod
    def _open(
        self, delivery: Delivery, carrier: Mapping[str, object] | None, started_at: float | None
    ) -> ProcessOperation: ...
