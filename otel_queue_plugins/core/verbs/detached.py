"""The verbs for deliveries that the caller does not run itself, or runs together with others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from otel_queue_plugins.core.carrier import propagation
from otel_queue_plugins.core.messages import Delivery, Ending
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.safety import never_raises
from otel_queue_plugins.core.spans import batch, process
from otel_queue_plugins.core.spans.batch import DeliveredMessage
from otel_queue_plugins.core.verbs.process import ProcessVerbs


class DetachedVerbs(ProcessVerbs):
    """Deliveries that other code runs, that one call runs together, or that no code runs."""

    @never_raises(ProcessOperation)
    def record_undelivered(
        self,
        delivery: Delivery,
        carrier: Mapping[str, object],
        ending: Ending,
        started_at: float | None = None,
        ended_at: float | None = None,
    ) -> ProcessOperation:
        """Record a delivery that has ended in other code, or before any code ran it.

        Args:
            delivery: What the framework knows of the delivery.
            carrier: The mapping inside the message.
            ending: How the delivery ended.
            started_at: When the task began, in seconds since the epoch; None if it never did.
            ended_at: The end in seconds since the epoch; None for now.

        Returns:
            The ended operation.
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
        """Open the process span of a delivery that other code runs.

        It is neither current nor in flight in this process. Code that belongs to the delivery
        runs in `with operation.inside():`. The arguments are those of `start_process`.

        Returns:
            The operation to end with `end_process`.
        """
        return self._open(delivery, carrier, started_at)

    @never_raises(list[ProcessOperation])
    def start_batch(self, deliveries: Sequence[DeliveredMessage]) -> list[ProcessOperation]:
        """Open the process spans of several deliveries that one call runs.

        The span of the first becomes current.

        Args:
            deliveries: Each delivery with the carrier of its message.

        Returns:
            An operation for each delivery. End each with `end_process`, the first one last.
        """
        now = self._clock() / 1e9
        delivery, carrier = batch.first_delivery(deliveries, self.options, now), deliveries[0][1]
        operations = [self.start_process(delivery, carrier, now)]
        first_span = operations[0].span.get_span_context()
        for delivery, carrier in deliveries[1:]:
            operation = self._open(batch.other_delivery(delivery, first_span), carrier, now)
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
        """Refer to the process span of a delivery that other code records.

        Opens no span. What runs in `with operation.inside():` has that span as its parent. The
        arguments are those of `start_process`.

        Returns:
            An operation that has ended already.
        """
        incoming = propagation.read(carrier)
        if not self.connect():
            return ProcessOperation(delivery, incoming)
        if self._correlation is not None:
            _, incoming = self._correlation.of_delivery(delivery, incoming)
        template = self._template_of(delivery.route)
        return process.reference_span(
            self._connection, template, delivery, incoming, self.options, started_at
        )
