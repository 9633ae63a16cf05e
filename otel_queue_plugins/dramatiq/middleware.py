"""The moments that Dramatiq tells its middleware about, each one verb of ours."""

from __future__ import annotations

import logging
import os
import weakref
from typing import TYPE_CHECKING, Any

from dramatiq.middleware import Middleware

from otel_queue_plugins import sdk
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.telemetry import QueueTelemetry
from otel_queue_plugins.dramatiq import carriage, consumers
from otel_queue_plugins.dramatiq.traced import TracedBroker
from otel_queue_plugins.dramatiq.workers import Workers

if TYPE_CHECKING:
    from dramatiq import Broker, Worker
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider


_log = logging.getLogger("otel_queue_plugins")


class OpenTelemetryMiddleware(Middleware):
    """Traces and measures what goes through a broker.

    It belongs first in the list of middleware, where `instrument(broker)` puts it. Options that
    are not given come from `OTEL_QUEUE_*` (`core.options.Options` explains them); providers that
    are not given are the global ones. Raises ValueError for an option that is none.

    Parameters:
      relation(str): `child`, `link`, `none` or `auto`; an actor or a message can say otherwise
        with the option `otel_relation`.
      options: Every other field of `Options`.
      tracer_provider(TracerProvider)
      meter_provider(MeterProvider)
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        **options: Any,
    ) -> None:
        sdk.validate(os.environ)
        self._options = Options.from_environ(os.environ, **options)
        self._telemetry = QueueTelemetry(
            "dramatiq",
            options=self._options,
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
        )
        self._workers = Workers(self._telemetry)
        self._brokers: weakref.WeakKeyDictionary[Broker, TracedBroker | None] = (
            weakref.WeakKeyDictionary()
        )

    @property
    def actor_options(self) -> set[str]:
        return {carriage.RELATION, carriage.TRACE}

    def install(self, broker: Broker) -> TracedBroker | None:
        """Be in charge of `broker`; None if another middleware of ours is."""
        if broker not in self._brokers:
            self._brokers[broker] = TracedBroker.install(broker, self._telemetry, self._options)
        return self._brokers[broker]

    def remove(self, broker: Broker) -> None:
        """Leave `broker` as it was before."""
        traced = self._brokers.get(broker)
        self._brokers[broker] = None
        if traced is not None:
            traced.restore()

    def before_declare_actor(self, broker: Broker, actor: Any) -> None:
        self.install(broker)

    def after_declare_actor(self, broker: Broker, actor: Any) -> None:
        self.install(broker)

    def after_declare_queue(self, broker: Broker, queue_name: str) -> None:
        self.install(broker)

    def before_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
        if traced := self.install(broker):
            traced.sends.write(message, delay)

    def before_delay_message(self, broker: Broker, message: Any) -> None:
        if traced := self.install(broker):
            traced.sends.note_delayed(message)

    def before_process_message(self, broker: Broker, message: Any) -> None:
        if traced := self.install(broker):
            traced.deliveries.begin(message)

    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        if traced := self.install(broker):
            traced.deliveries.note_processed(message, exception)
            if self._is_first(broker):
                traced.deliveries.end(message)

    def after_skip_message(self, broker: Broker, message: Any) -> None:
        if traced := self.install(broker):
            traced.deliveries.note_skipped(message)
            if self._is_first(broker):
                traced.deliveries.end(message)

    def before_ack(self, broker: Broker, message: Any) -> None:
        if traced := self.install(broker):
            traced.deliveries.end(message)

    def before_nack(self, broker: Broker, message: Any) -> None:
        if traced := self.install(broker):
            traced.deliveries.end_rejected(message)

    def after_process_boot(self, broker: Broker) -> None:
        sdk.ensure_providers()

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        if traced := self.install(broker):
            traced.facts.forget_actors()
            self._workers.booting(worker)
            self._warn_unless_first(broker)

    def after_consumer_thread_boot(self, broker: Broker, thread: Any) -> None:
        if self.install(broker) and not self._options.broker_spans:
            consumers.keep_thread_quiet()

    def after_worker_thread_boot(self, broker: Broker, thread: Any) -> None:
        if traced := self.install(broker):
            traced.deliveries.note_worker_thread()

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        if self.install(broker):
            self._workers.stopping()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        if self.install(broker):
            self._workers.stopped(worker)

    def _is_first(self, broker: Broker) -> bool:
        return broker.middleware[0] is self

    def _warn_unless_first(self, broker: Broker) -> None:
        if not self._is_first(broker):
            _log.warning(
                "OpenTelemetryMiddleware comes after %s: what that does before a message runs is "
                "outside of its span. `otel_queue_plugins.dramatiq.instrument(broker)` puts it "
                "first.",
                type(broker.middleware[0]).__name__,
            )
