"""The verbs of the call by which a worker settles a delivery."""

from __future__ import annotations

from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.core.spans import settle
from otel_queue_plugins.core.spans.settle import Settlement, SettleOperation
from otel_queue_plugins.core.verbs.base import VerbsBase


class SettleVerbs(VerbsBase):
    """Spans of acks, nacks and rejects, where `settle_spans` asks for them."""

    @never_raises(SettleOperation)
    def start_settle(self, operation: ProcessOperation, settlement: Settlement) -> SettleOperation:
        """Open the span of a call that settles a delivery, and make it current.

        Args:
            operation: The delivery; its span may have ended.
            settlement: What the broker is told: `ack`, `nack` or `reject`.

        Returns:
            The operation to end with `end_settle`.
        """
        template = operation.template
        if template is None:
            return SettleOperation()
        opened = settle.open_span(self._connection, template, operation, settlement, self._clock())
        opened.enter()
        return opened

    @never_raises(do_nothing)
    def end_settle(self, operation: SettleOperation, error: BaseException | None = None) -> None:
        """End the span of a call that settles a delivery.

        Args:
            operation: What `start_settle` returned.
            error: The exception that the call raised; None if it returned.
        """
        try:
            settle.close_span(operation, error, self.options, self._clock())
        finally:
            operation.leave()
