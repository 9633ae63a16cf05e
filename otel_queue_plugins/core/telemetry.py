"""The moments of a message's life, and the telemetry they make."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from opentelemetry import context as otel_context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from otel_queue_plugins.core.api.connection import Connection, SetUp, no_set_up
from otel_queue_plugins.core.api.context import with_span
from otel_queue_plugins.core.api.recorder import FastPath
from otel_queue_plugins.core.carrier import propagation
from otel_queue_plugins.core.carrier.propagation import Carrier
from otel_queue_plugins.core.detached import DetachedDeliveries
from otel_queue_plugins.core.messages import Delivery, Ending, Message, Route
from otel_queue_plugins.core.metrics.observed import Measure
from otel_queue_plugins.core.metrics.templates import RouteTemplate, RouteTemplates
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.safety import do_nothing, log_failure, never_raises
from otel_queue_plugins.core.spans import process, send, settle
from otel_queue_plugins.core.spans.operation import ProcessOperation, SendOperation
from otel_queue_plugins.core.spans.settle import Settlement, SettleOperation


class QueueTelemetry(DetachedDeliveries):
    """The verbs that adapters say, one instance per framework and process.

    `framework` is `celery`, `dramatiq`, ... `clock` gives nanoseconds since the epoch. Providers
    that are None are the global ones; when telemetry is needed, `set_up` is called with the signals
    (`traces`, `metrics`) that nobody has set one for. `fast_path` records at less cost than the
    API, where it can. No verb raises; each logs what went wrong in it, at most once a minute.
    """

    def __init__(
        self,
        framework: str,
        *,
        options: Options | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        set_up: SetUp = no_set_up,
        fast_path: FastPath | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.framework = framework
        self.options = options or Options()
        self._clock = clock
        self._prepare = RouteTemplates(framework, self.options.span_name).of
        self._connection = Connection(
            optional_metrics=self.options.metrics,
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
            set_up=set_up,
            fast_path=fast_path,
            clock=clock,
        )

    def start_send(
        self, message: Message, carrier: Carrier, started_at: float | None = None
    ) -> SendOperation:
        """User code sends `message`: open its span, make it current, write it into `carrier`.

        `started_at` (seconds since the epoch) is None for now.
        """
        try:
            return self._start_send(message, carrier, started_at)
        except Exception:  # noqa: BLE001 - the rule of `guard`, without what its wrapper costs
            log_failure("QueueTelemetry.start_send")
            return SendOperation()

    def _start_send(
        self, message: Message, carrier: Carrier, started_at: float | None
    ) -> SendOperation:
        if not self.connect():
            self.write_current_context(carrier)
            return SendOperation()
        started = self._clock() if started_at is None else int(started_at * 1e9)
        template = self._prepare(message.route)
        here = otel_context.get_current()
        span = send.start_span(self._connection, template, message, here, started)
        context = with_span(span, here)
        operation = SendOperation(template, span, started, context)
        try:
            propagation.write(carrier, context, send.facts(message, self.options, span, started))
        except Exception:  # noqa: BLE001 - the message goes without, its span is ended all the same
            log_failure("writing the context of a message")
        operation.enter()
        return operation

    def end_send(self, operation: SendOperation, error: BaseException | None = None) -> None:
        """The broker has the message, or `error` says why not. Saying it twice does nothing."""
        template = operation.template
        if template is None or operation.ended_ns:
            return
        try:
            operation.ended_ns = max(self._clock(), operation.started_ns)
            send.finish(self._connection, operation, template, error, self.options)
        except Exception:  # noqa: BLE001 - as in `start_send`
            log_failure("QueueTelemetry.end_send")
        finally:
            operation.leave()

    @never_raises(do_nothing)
    def requeue(
        self, operation: ProcessOperation, carrier: Carrier, eta: float | None = None
    ) -> None:
        """The framework enqueues the message of `operation` again, to be tried once more.

        No span: the next attempt keeps the creation context and learns of this attempt. `eta` is
        the earliest start (seconds since the epoch) where the framework forgets it on the way.
        """
        context, facts = send.facts_of_retry(operation, self._clock() / 1e9, eta)
        known = operation.template or operation.incoming.envelope
        propagation.write(carrier, context, facts if known else None)

    @never_raises(do_nothing)
    def write_delay(self, carrier: Carrier, enqueued_at: float, eta: float) -> None:
        """Somebody without us sent a message, due at `eta`: keep that (seconds since the epoch)."""
        facts = send.facts_of_delay(enqueued_at, eta)
        propagation.write(carrier, propagation.EMPTY_INCOMING.context, facts)

    def start_process(
        self,
        delivery: Delivery,
        carrier: Mapping[str, object] | None,
        started_at: float | None = None,
    ) -> ProcessOperation:
        """A delivery begins: open its span and make it current.

        `carrier` None means that the caller runs the task itself, in its own context.
        `started_at` (seconds since the epoch) is None for now.
        """
        try:
            operation = self._open(delivery, carrier, started_at)
            operation.enter()
            if operation.template is not None:
                self._connection.counts.add_in_flight(operation, operation.template)
        except Exception:  # noqa: BLE001 - as in `start_send`
            log_failure("QueueTelemetry.start_process")
            return ProcessOperation()
        return operation

    def end_process(
        self, operation: ProcessOperation, ending: Ending, ended_at: float | None = None
    ) -> None:
        """The framework has decided how the delivery ended. Saying it twice does nothing.

        `ended_at` (seconds since the epoch) is None for now.
        """
        if operation.ended:
            return
        operation.ended = True
        try:
            self._close(operation, ending, ended_at)
        except Exception:  # noqa: BLE001 - as in `start_send`
            log_failure("QueueTelemetry.end_process")
        finally:
            self._leave(operation)

    @never_raises(do_nothing)
    def abandon_process(self, operation: ProcessOperation) -> None:
        """Another process will record this delivery: leave it without a word."""
        if not operation.ended:
            operation.ended = True
            self._leave(operation)

    @never_raises(SettleOperation)
    def start_settle(self, operation: ProcessOperation, settlement: Settlement) -> SettleOperation:
        """The broker is about to be told of the end of a delivery: open a span for the call."""
        template = operation.template
        if template is None:
            return SettleOperation()
        opened = settle.open_span(self._connection, template, operation, settlement, self._clock())
        opened.enter()
        return opened

    @never_raises(do_nothing)
    def end_settle(self, operation: SettleOperation, error: BaseException | None = None) -> None:
        """The broker has been told, or `error` says why not."""
        try:
            settle.close_span(operation, error, self._clock())
        finally:
            operation.leave()

    def connect(self) -> bool:
        """Set up and use the providers now; returns whether anybody collects telemetry."""
        return self._connection.open or self._connection.connect()

    def can_skip(self, carrier: Mapping[str, object] | None) -> bool:
        """Whether a delivery needs no verb: nobody listens, and `carrier` hands nothing on."""
        if self.options.log_correlation or self.connect():
            return False
        return not carrier or not propagation.may_carry_context(carrier)

    @never_raises(do_nothing)
    def write_current_context(self, carrier: Carrier) -> None:
        """A message is sent and nobody listens: give it the context that is current, no more."""
        propagation.write(carrier, None, None)

    def observe_worker(
        self,
        *,
        capacity: Measure | None,
        reserved: Measure | None,
        running: Callable[[], Iterable[tuple[Route, float]]] | None = None,
    ) -> None:
        """Report the slots of this worker, and how many messages it holds without running them.

        `running` gives the deliveries in progress in processes that do not tell of them, by route
        and start (seconds since the epoch).
        """
        known = None if running is None else partial(self._known, running)
        self._connection.observe_worker(capacity=capacity, reserved=reserved, running=known)

    def _known(
        self, running: Callable[[], Iterable[tuple[Route, float]]]
    ) -> list[tuple[RouteTemplate, int]]:
        return [(self._prepare(route), int(at * 1e9)) for route, at in running()]

    def _open(
        self, delivery: Delivery, carrier: Mapping[str, object] | None, started_at: float | None
    ) -> ProcessOperation:
        incoming = propagation.read(carrier)
        if not self.connect():
            return ProcessOperation(delivery, incoming)
        return process.open_span(
            self._connection,
            self._prepare(delivery.route),
            delivery,
            incoming,
            self.options,
            self._clock() if started_at is None else int(started_at * 1e9),
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
