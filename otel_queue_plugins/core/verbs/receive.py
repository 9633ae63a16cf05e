"""The verb of a poll of the broker."""

from __future__ import annotations

from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.api.recorder import Value
from otel_queue_plugins.core.bounds import bounded
from otel_queue_plugins.core.messages import Fetch
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.core.spans import receive
from otel_queue_plugins.core.verbs.base import VerbsBase


class ReceiveVerbs(VerbsBase):
    """Spans and counts of polls, where `receive_spans` or the metric is asked for."""

    @property
    def wants_fetches(self) -> bool:
        """Whether an adapter is to call `record_fetch`."""
        return self.options.receive_spans or semconv.FETCHES in self.options.metrics

    @never_raises(do_nothing)
    def record_fetch(self, fetch: Fetch) -> None:
        """Count a poll that has ended now, and record its span if it returned something."""
        if not self.connect():
            return
        connection, broker = self._connection, fetch.broker
        if self.options.receive_spans and fetch.result == "message":
            started_ns = int(fetch.started_at * 1e9)
            ended_ns = max(started_ns, self._clock())
            receive.record_span(connection, fetch, self.framework, started_ns, ended_ns)
        if connection.instruments.fetches is not None:
            counted: dict[str, Value] = {
                semconv.MESSAGING_SYSTEM: bounded(broker.system),
                semconv.FETCH_RESULT: fetch.result,
            }
            if fetch.destination is not None:
                counted[semconv.MESSAGING_DESTINATION_NAME] = bounded(fetch.destination)
            connection.instruments.fetches.add(1, self.options.on_metric(counted))
