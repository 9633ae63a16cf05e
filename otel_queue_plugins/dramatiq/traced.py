"""One broker with our wrappers in place, and how to take them out again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dramatiq import __version__

from otel_queue_plugins.core.patching import TakeBack, apply_to
from otel_queue_plugins.dramatiq import groups, patches, settlements
from otel_queue_plugins.dramatiq.consumers import QuietConsumer, TracedConsumer, consuming
from otel_queue_plugins.dramatiq.deliveries import Deliveries
from otel_queue_plugins.dramatiq.sends import Sends
from otel_queue_plugins.dramatiq.settlements import SettledDeliveries
from otel_queue_plugins.dramatiq.translation import Facts

if TYPE_CHECKING:
    from dramatiq import Broker

    from otel_queue_plugins.core.options import Options
    from otel_queue_plugins.core.telemetry import QueueTelemetry


class TracedBroker:
    """What one middleware of ours knows and has wrapped on one broker."""

    def __init__(self, broker: Broker, telemetry: QueueTelemetry, options: Options) -> None:
        self.broker = broker
        self.facts = Facts(broker)
        self.sends = Sends(broker, telemetry, self.facts, quiet=not options.broker_spans)
        consumer: type[TracedConsumer] = TracedConsumer if options.broker_spans else QuietConsumer
        if options.settle_spans:
            self.deliveries: Deliveries = SettledDeliveries(broker, telemetry, self.facts)
            self._consume = consuming(settlements.consumers(consumer, telemetry))
        else:
            self.deliveries = Deliveries(broker, telemetry, self.facts)
            self._consume = consuming(consumer)
        self._undo: list[TakeBack] = []

    @classmethod
    def install(
        cls, broker: Broker, telemetry: QueueTelemetry, options: Options
    ) -> TracedBroker | None:
        """Wrap the sending and consuming of `broker`; None if that has been done already."""
        if groups.is_traced(broker):
            return None
        traced = cls(broker, telemetry, options)
        table = patches.of_broker(traced.sends.enqueue, traced._consume)
        traced._undo += apply_to(broker, table, __version__)
        groups.trace(broker)
        return traced

    def restore(self) -> None:
        """Take the wrappers out, or make them plain calls where somebody has wrapped them."""
        while self._undo:
            self._undo.pop()()
        groups.forget(self.broker)
