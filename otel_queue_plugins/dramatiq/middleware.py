"""The middleware: hands each hook of Dramatiq to `sends`, `deliveries` or `workers`.

A `TracedBroker` has them for one broker; `install` returns it.
"""

from __future__ import annotations

import logging
import os
import weakref
from typing import TYPE_CHECKING, Any

from dramatiq.middleware import Middleware

from otel_queue_plugins import sdk
from otel_queue_plugins.core.options import Options, check_names, check_providers
from otel_queue_plugins.core.telemetry import QueueTelemetry
from otel_queue_plugins.dramatiq import actors, consumers, log_arguments, message_options
from otel_queue_plugins.dramatiq.traced_broker import TracedBroker
from otel_queue_plugins.dramatiq.workers import Workers, has_several_processes
from otel_queue_plugins.sdk import fastpath

if TYPE_CHECKING:
    from dramatiq import Actor, Broker, Worker
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

_log = logging.getLogger("otel_queue_plugins")


class OpenTelemetryMiddleware(Middleware):
    """Traces and measures what goes through a broker.

    It belongs first in the list of middleware, where `instrument(broker)` puts it. An actor or a
    message may have the options `otel_relation` (`child`, `link`, `none` or `auto`) and
    `otel_trace` (False leaves it out).

    Args:
        tracer_provider: Where spans go. None is the global provider, which is set up from `OTEL_*`
            when it is first needed, if nobody has set one by then.
        meter_provider: Where measurements go; None as for `tracer_provider`.
        **options: Fields of `Options`. One that is not given comes from its `OTEL_QUEUE_*`
            variable.

    Raises:
        ValueError: An option has a value that is not one of its choices.
        TypeError: There is no option of that name.
        otel_queue_plugins.sdk.ConfigurationError: A variable is wrong, and `OTEL_QUEUE_STRICT` is
            `true`.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        **options: Any,
    ) -> None:
        check_names(options)
        check_providers(tracer_provider, meter_provider)
        sdk.set_siblings_check(has_several_processes)
        sdk.validate(os.environ)
        self._options = Options.from_environ(os.environ, **options)
        self._telemetry = QueueTelemetry(
            "dramatiq",
            options=self._options,
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
            set_up=sdk.ensure_providers,
            fast_path=fastpath,
        )
        sdk.log_privacy.redact(self._options.redact)
        if not self._options.log_arguments:
            sdk.log_privacy.hide_arguments(log_arguments.without_arguments)
        if self._options.log_correlation:
            sdk.enable_log_correlation()
        if self._options.log_trace_url:
            sdk.enable_log_trace_url()
        sdk.set_up_on_first_use()
        self._workers = Workers(self._telemetry)
        self._brokers: dict[Broker, TracedBroker] = {}
        self._telemetry.observe_task_names(
            lambda: [name for broker in list(self._brokers) for name in list(broker.actors)]
        )
        self._inactive_on: weakref.WeakSet[Broker] = weakref.WeakSet()

    @property
    def actor_options(self) -> set[str]:
        """The options of this package that `@actor(...)` accepts."""
        return {message_options.RELATION, message_options.TRACE}

    def install(self, broker: Broker) -> TracedBroker | None:
        """Patch `broker` unless that is done, and return its `TracedBroker`.

        Returns None if this middleware is not in the list of `broker`, or another one of this
        class is in charge of it.
        """
        traced = self._brokers.get(broker)
        if traced is None and any(each is self for each in broker.middleware):
            watch = self._workers.http.watch
            traced = TracedBroker.install(broker, self._telemetry, self._options, watch)
            if traced is not None:
                self._brokers[broker] = traced
            elif broker not in self._inactive_on:
                self._inactive_on.add(broker)
                _log.warning("%r has a second OpenTelemetryMiddleware: it does nothing", broker)
        return traced

    def is_in_charge(self, broker: Broker) -> bool:
        """Whether this middleware traces `broker`."""
        return broker in self._brokers

    def remove(self, broker: Broker) -> None:
        """Take the patches of `broker` back, after this was removed from its list."""
        traced = self._brokers.pop(broker, None)
        if traced is not None:
            self._workers.leave(broker)
            traced.uninstall()

    def before_declare_actor(self, broker: Broker, actor: Actor[Any, Any]) -> None:
        """Raise `actors.WrongOptionError` if `otel_relation` has a wrong value."""
        self.install(broker)
        actors.check_options(actor)

    def after_declare_actor(self, broker: Broker, actor: Actor[Any, Any]) -> None:
        self.install(broker)

    def after_declare_queue(self, broker: Broker, queue_name: str) -> None:
        self.install(broker)

    def before_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
        if traced := self.install(broker):
            traced.sends.write(message, delay)

    def before_delay_message(self, broker: Broker, message: Any) -> None:
        if traced := self.install(broker):
            traced.sends.hold_delayed(message)

    def before_process_message(self, broker: Broker, message: Any) -> None:
        if traced := self.install(broker):
            traced.deliveries.start(message)

    def after_process_message(
        self,
        broker: Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        if traced := self.install(broker):
            traced.deliveries.set_result(message, exception, is_final=self._is_first(broker))

    def after_skip_message(self, broker: Broker, message: Any) -> None:
        if traced := self.install(broker):
            traced.deliveries.set_skipped(message, is_final=self._is_first(broker))

    def before_ack(self, broker: Broker, message: Any) -> None:
        if traced := self.install(broker):
            traced.deliveries.end(message)

    def after_ack(self, broker: Broker, message: Any) -> None:
        if traced := self._brokers.get(broker):
            traced.deliveries.leave_settled()

    def before_nack(self, broker: Broker, message: Any) -> None:
        if traced := self.install(broker):
            traced.deliveries.end_nacked(message)

    after_nack = after_ack

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        if traced := self.install(broker):
            traced.translation.forget_actors()
            self._workers.booting(worker)
            self._warn_unless_first(broker)

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        if self.install(broker):
            self._telemetry.connect()
            sdk.ensure_providers()
            self._workers.booted(worker)

    def after_consumer_thread_boot(self, broker: Broker, thread: Any) -> None:
        if traced := self.install(broker):
            traced.deliveries.mark_worker_thread()
            if not self._options.broker_spans:
                consumers.suppress_pika_spans()

    def after_worker_thread_boot(self, broker: Broker, thread: Any) -> None:
        if traced := self.install(broker):
            traced.deliveries.mark_worker_thread()

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        if self.install(broker):
            self._workers.stopping()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        if self.install(broker):
            self._workers.stopped(worker)

    def _is_first(self, broker: Broker) -> bool:
        """Whether this is the first middleware.

        Dramatiq calls the `after_` hooks in reverse order, so that no other middleware can change
        the outcome after the first one.
        """
        return broker.middleware[0] is self

    def _warn_unless_first(self, broker: Broker) -> None:
        if not self._is_first(broker):
            _log.warning(
                "OpenTelemetryMiddleware comes after %s: what that does before a message runs is "
                "outside of its span. otel_queue_plugins.dramatiq.instrument(broker) puts it "
                "first.",
                type(broker.middleware[0]).__name__,
            )
