"""One broker with our wrappers in place, and how to take them out again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_queue_plugins.dramatiq import groups, settlements
from otel_queue_plugins.dramatiq.consumers import Consume, QuietConsumer, TracedConsumer
from otel_queue_plugins.dramatiq.deliveries import Deliveries
from otel_queue_plugins.dramatiq.sends import Enqueue, Sends
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
            self._consume = Consume(broker.consume, settlements.consumers(consumer, telemetry))
        else:
            self.deliveries = Deliveries(broker, telemetry, self.facts)
            self._consume = Consume(broker.consume, consumer)
        self._enqueue = Enqueue(broker.enqueue, self.sends)

    @classmethod
    def install(
        cls, broker: Broker, telemetry: QueueTelemetry, options: Options
    ) -> TracedBroker | None:
        """Wrap the sending and consuming of `broker`; None if that has been done already."""
        if groups.is_traced(broker):
            return None
        traced = cls(broker, telemetry, options)
        vars(broker).update(enqueue=traced._enqueue, consume=traced._consume)
        groups.trace(broker)
        return traced

    def restore(self) -> None:
        """Take the wrappers out, or make them plain calls where somebody has wrapped them."""
        for name, wrapper in (("enqueue", self._enqueue), ("consume", self._consume)):
            wrapper.stop()
            if vars(self.broker).get(name) is wrapper:
                delattr(self.broker, name)
        groups.forget(self.broker)
