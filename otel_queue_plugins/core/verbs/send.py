"""The verbs of the producer: a message is sent, or enqueued again."""

from __future__ import annotations

from opentelemetry import context as otel_context

from otel_queue_plugins.core.api.context import with_span
from otel_queue_plugins.core.carrier import outgoing, propagation
from otel_queue_plugins.core.carrier.propagation import Carrier
from otel_queue_plugins.core.messages import Message
from otel_queue_plugins.core.operation import ProcessOperation, SendOperation
from otel_queue_plugins.core.safety import do_nothing, log_failure, never_raises
from otel_queue_plugins.core.spans import send
from otel_queue_plugins.core.verbs.base import VerbsBase


class SendVerbs(VerbsBase):
    """Spans of sends, and what a message carries to its worker."""

    def start_send(
        self, message: Message, carrier: Carrier, started_at: float | None = None
    ) -> SendOperation:
        """Open the send span of `message`, make it current and inject it into `carrier`.

        Args:
            message: The message that user code sends.
            carrier: The mapping inside the message; keys of ours in it are replaced.
            started_at: When sending began, in seconds since the epoch; None for now.

        Returns:
            The operation to end with `end_send`.
        """
        try:
            return self._start_send(message, carrier, started_at)
        except Exception:  # noqa: BLE001 - as `never_raises`, without the cost of its wrapper
            log_failure("QueueTelemetry.start_send")
            return SendOperation()

    def _start_send(
        self, message: Message, carrier: Carrier, started_at: float | None
    ) -> SendOperation:
        if not self.connect():
            self.write_current_context(carrier)
            return SendOperation()
        started = self._clock() if started_at is None else int(started_at * 1e9)
        template = self._template_of(message.route)
        parent, correlated = otel_context.get_current(), None
        if self._correlation is not None:
            correlated, parent = self._correlation.of_send(message, parent)
        span = send.open_span(self._connection, template, message, parent, started, correlated)
        context = with_span(span, parent)
        operation = SendOperation(template, span, started, context)
        try:
            envelope = outgoing.of_message(message, self.options, span, started)
            propagation.write(carrier, context, envelope)
        except Exception:  # noqa: BLE001 - the message is sent without; its span must end
            log_failure("writing the context of a message")
        operation.enter()
        return operation

    def end_send(self, operation: SendOperation, error: BaseException | None = None) -> None:
        """End the send span and record the send. A second call does nothing.

        Args:
            operation: What `start_send` returned.
            error: The exception that the broker call raised; None if the broker has the message.
        """
        template = operation.template
        if template is None or operation.ended_ns:
            return
        try:
            operation.ended_ns = max(self._clock(), operation.started_ns)
            send.close_span(self._connection, operation, template, error, self.options)
        except Exception:  # noqa: BLE001 - as in `start_send`
            log_failure("QueueTelemetry.end_send")
        finally:
            operation.leave()

    @never_raises(do_nothing)
    def requeue(
        self, operation: ProcessOperation, carrier: Carrier, eta: float | None = None
    ) -> None:
        """Write into `carrier` what the next attempt of the message needs. Makes no span.

        The next attempt keeps the creation context, and links to this attempt.

        Args:
            operation: The delivery in progress, whose message the framework enqueues again.
            carrier: The mapping inside the message that is enqueued.
            eta: The earliest start in seconds since the epoch, for frameworks that do not carry
                it to the worker; else None.
        """
        context, envelope = outgoing.of_retry(operation, self._clock() / 1e9, eta)
        is_traced = operation.template or operation.incoming.envelope
        propagation.write(carrier, context, envelope if is_traced else None)

    @never_raises(do_nothing)
    def write_delay(self, carrier: Carrier, enqueued_at: float, eta: float) -> None:
        """Write the delay of a message that a sender without this package has sent.

        Args:
            carrier: The mapping inside the message.
            enqueued_at: When it was sent, in seconds since the epoch.
            eta: Its earliest start, in seconds since the epoch.
        """
        envelope = outgoing.of_delay(enqueued_at, eta)
        propagation.write(carrier, propagation.EMPTY_INCOMING.context, envelope)

    @never_raises(do_nothing)
    def write_current_context(self, carrier: Carrier) -> None:
        """Inject the current context into `carrier` without creating a span.

        For messages that are sent while telemetry is not recorded.
        """
        propagation.write(carrier, None, None)
