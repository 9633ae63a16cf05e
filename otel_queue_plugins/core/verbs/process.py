"""The verbs of the worker: a delivery begins and ends in the code that runs it."""

from __future__ import annotations

from collections.abc import Mapping

from otel_queue_plugins.core.carrier import propagation
from otel_queue_plugins.core.messages import Delivery, Ending
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.safety import do_nothing, log_failure, never_raises
from otel_queue_plugins.core.spans import process
from otel_queue_plugins.core.verbs.base import VerbsBase


class ProcessVerbs(VerbsBase):
    """Spans and measurements of deliveries."""

    def start_process(
        self,
        delivery: Delivery,
        carrier: Mapping[str, object] | None,
        started_at: float | None = None,
    ) -> ProcessOperation:
        """Open the process span of `delivery` and make it current.

        Args:
            delivery: What the framework knows of the delivery.
            carrier: The mapping inside the message; None if the caller runs the task itself, in
                its own context (Celery's `apply`).
            started_at: The start in seconds since the epoch; None for now.

        Returns:
            The operation to end with `end_process`.
        """
        try:
            operation = self._open(delivery, carrier, started_at)
            operation.enter()
            if operation.template is not None:
                self._connection.counts.add_in_flight(operation, operation.template)
        except Exception:  # noqa: BLE001 - as `never_raises`, without the cost of its wrapper
            log_failure("QueueTelemetry.start_process")
            return ProcessOperation()
        return operation

    def end_process(
        self, operation: ProcessOperation, ending: Ending, ended_at: float | None = None
    ) -> None:
        """End the process span and record the delivery. A second call does nothing.

        Args:
            operation: What `start_process` or `open_process` returned.
            ending: How the delivery ended, once the framework has decided.
            ended_at: The end in seconds since the epoch; None for now.
        """
        if operation.ended:
            return
        operation.ended = True
        try:
            self._close(operation, ending, ended_at)
        except Exception:  # noqa: BLE001 - as in `start_process`
            log_failure("QueueTelemetry.end_process")
        finally:
            self._leave(operation)

    @never_raises(do_nothing)
    def abandon_process(self, operation: ProcessOperation) -> None:
        """Stop `operation` without a span or a count: another process records this delivery."""
        if not operation.ended:
            operation.ended = True
            self._leave(operation)

    def can_skip(self, carrier: Mapping[str, object] | None) -> bool:
        """Whether an adapter may leave out all verbs of a delivery.

        True where telemetry is not recorded and `carrier` has no context for the task to run in.
        """
        if self.options.log_correlation or self.connect():
            return False
        return not carrier or not propagation.may_carry_context(carrier)

    def _open(
        self, delivery: Delivery, carrier: Mapping[str, object] | None, started_at: float | None
    ) -> ProcessOperation:
        incoming, correlated = propagation.read(carrier), None
        if not self.connect():
            return ProcessOperation(delivery, incoming)
        if self._correlation is not None:
            correlated, incoming = self._correlation.of_delivery(delivery, incoming)
        return process.open_span(
            self._connection,
            self._template_of(delivery.route),
            delivery,
            incoming,
            self.options,
            self._clock() if started_at is None else int(started_at * 1e9),
            correlated,
        )

    def _close(self, operation: ProcessOperation, ending: Ending, ended_at: float | None) -> None:
        template = operation.template
        if template is not None:
            ended_ns = self._clock()
            if ended_at is not None:
                ended_ns = min(ended_ns, int(ended_at * 1e9))
            ended_ns = max(ended_ns, operation.started_ns)
            process.close_span(
                self._connection, operation, template, ending, self.options, ended_ns
            )

    def _leave(self, operation: ProcessOperation) -> None:
        self._connection.counts.remove_in_flight(operation)
        if not operation.stays_current:
            operation.leave()
