"""Patch one broker and put it back: its `enqueue`, its `consume`, and its groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dramatiq import __version__

from otel_queue_plugins.core.patching import TakeBack, apply_to
from otel_queue_plugins.dramatiq import fetches, patches, settlements, workflow
from otel_queue_plugins.dramatiq.consumers import (
    SuppressingConsumer,
    TracedConsumer,
    Watch,
    wrap_consume,
)
from otel_queue_plugins.dramatiq.deliveries import Deliveries
from otel_queue_plugins.dramatiq.sends import Sends
from otel_queue_plugins.dramatiq.settlements import SettledDeliveries
from otel_queue_plugins.dramatiq.translation import Translation

if TYPE_CHECKING:
    from collections.abc import Callable

    from dramatiq import Broker, Consumer

    from otel_queue_plugins.core.options import Options
    from otel_queue_plugins.core.telemetry import QueueTelemetry


class TracedBroker:
    """A broker that a middleware of ours is in charge of."""

    def __init__(
        self, broker: Broker, telemetry: QueueTelemetry, options: Options, watch: Watch
    ) -> None:
        self.broker = broker
        self.translation = Translation(broker)
        self.sends = Sends(broker, telemetry, self.translation, suppress=not options.broker_spans)
        consumer: type[TracedConsumer] = (
            TracedConsumer if options.broker_spans else SuppressingConsumer
        )
        kind: Callable[[Consumer], Any] = consumer
        if options.settle_spans:
            self.deliveries: Deliveries = SettledDeliveries(broker, telemetry, self.translation)
            kind = settlements.settling(consumer, telemetry)
        else:
            self.deliveries = Deliveries(broker, telemetry, self.translation)
        if telemetry.wants_fetches:
            kind = fetches.polling(kind, telemetry, broker)
        self._consume = wrap_consume(kind, watch)
        self._undo: list[TakeBack] = []

    @classmethod
    def install(
        cls, broker: Broker, telemetry: QueueTelemetry, options: Options, watch: Watch
    ) -> TracedBroker | None:
        """Patch `broker`. Returns None if another middleware of ours is in charge of it."""
        if workflow.is_traced(broker):
            return None
        traced = cls(broker, telemetry, options, watch)
        table = patches.of_broker(traced.sends.enqueue, traced._consume)
        traced._undo += apply_to(broker, table, __version__)
        workflow.trace_groups(broker)
        return traced

    def uninstall(self) -> None:
        """Take the patches back.

        A wrapper that other code has wrapped stays, as a plain call.
        """
        while self._undo:
            self._undo.pop()()
        workflow.stop_tracing_groups(self.broker)
