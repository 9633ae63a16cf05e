"""Count and trace the polls of a worker, with the option `receive_spans` or the metric of polls.

A call of a consumer's `__next__` is a poll. On Redis it is one only if no message is left of the
poll before, and the worker may hold more. RabbitMQ sends without being asked: there a poll is the
wait for the next message, at most as long as the time-out of the worker.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dramatiq.common import q_name

from otel_queue_plugins.core.messages import Fetch, FetchResult
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.dramatiq import message_options
from otel_queue_plugins.dramatiq.broker import address_of
from otel_queue_plugins.dramatiq.consumers import TracedConsumer
from otel_queue_plugins.dramatiq.translation import unwrapped

if TYPE_CHECKING:
    from dramatiq import Broker, Consumer, MessageProxy

    from otel_queue_plugins.core.telemetry import QueueTelemetry


class PollingConsumer(TracedConsumer):
    """A consumer whose polls are recorded."""

    def __init__(self, consumer: Any, telemetry: QueueTelemetry, broker: Broker) -> None:
        super().__init__(consumer)  # the proxy keeps `_self_...` attributes itself
        self._self_telemetry = telemetry
        self._self_address = address_of(broker)
        self._self_queue: str | None = None

    def __next__(self) -> MessageProxy | None:
        if not self._polls():
            return next(self.__wrapped__)
        started_at = time.time()
        try:
            message = next(self.__wrapped__)
        except BaseException:
            self._record(started_at, "error", None)
            raise
        self._record(started_at, "empty" if message is None else "message", message)
        return message

    def _polls(self) -> bool:
        """Whether the next message comes from the broker, not from a poll before (Redis)."""
        held = getattr(self, "outstanding_message_count", 0)
        return not getattr(self, "message_cache", None) and held < getattr(
            self, "prefetch", sys.maxsize
        )

    @never_raises(do_nothing)
    def _record(self, started_at: float, result: FetchResult, message: Any) -> None:
        queue = getattr(self, "queue_name", None) or self._self_queue
        carrier = message_id = None
        if message is not None:
            plain = unwrapped(message)
            carrier, message_id = message_options.read(plain), str(plain.message_id)
            queue = queue or plain.queue_name
            self._self_queue = queue
        fetch = Fetch(
            broker=self._self_address,
            destination=None if queue is None else q_name(queue),
            started_at=started_at,
            result=result,
            size=0 if message is None else 1 + len(getattr(self, "message_cache", None) or ()),
            carrier=carrier,
            message_id=message_id,
        )
        self._self_telemetry.record_fetch(fetch)


def polling(
    kind: Callable[[Consumer], Any], telemetry: QueueTelemetry, broker: Broker
) -> Callable[[Consumer], PollingConsumer]:
    """Make the function that puts a consumer into a `kind`, and this into a `PollingConsumer`."""
    return lambda consumer: PollingConsumer(kind(consumer), telemetry, broker)
