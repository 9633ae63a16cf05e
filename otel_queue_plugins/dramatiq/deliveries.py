"""Begin and end each delivery once, in whatever order Dramatiq calls its hooks.

Dramatiq may leave out a hook, repeat it, or call it in another thread.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from otel_queue_plugins.core.safety import do_nothing, log_failure, never_raises
from otel_queue_plugins.dramatiq import message_options, outcomes, workflow
from otel_queue_plugins.dramatiq.actors import UNKNOWN_ACTOR, arguments_of
from otel_queue_plugins.dramatiq.delivery_state import (
    ENDED,
    DeliveryState,
    current_state,
    set_state,
    state_of,
)
from otel_queue_plugins.dramatiq.translation import unwrapped

if TYPE_CHECKING:
    from dramatiq import Broker

    from otel_queue_plugins.core.operation import ProcessOperation
    from otel_queue_plugins.core.telemetry import QueueTelemetry
    from otel_queue_plugins.dramatiq.translation import Translation


class _Thread(threading.local):
    """The state of one thread.

    `settling` is the operation, already ended, whose message this thread settles now; None between
    two messages.
    """

    is_worker_thread = False
    settling: ProcessOperation | None = None


class Deliveries:
    """Report the deliveries of one broker to the core."""

    def __init__(self, broker: Broker, telemetry: QueueTelemetry, translation: Translation) -> None:
        self._broker = broker
        self._telemetry = telemetry
        self._translation = translation
        self._thread = _Thread()

    def mark_worker_thread(self) -> None:
        """Mark the running thread as one of a worker, which settles one message after another.

        In it the span of a delivery stays current while its message is settled, so that what
        middleware does then is a child of that span.
        """
        self._thread.is_worker_thread = True

    def start(self, message: Any) -> None:
        """Start the process span of `message`, before the first middleware gets it."""
        try:
            if state_of(message) is None:
                self._start(message)
        except Exception:  # noqa: BLE001 - as `never_raises` does, for a third of the cost
            log_failure("starting a delivery")

    def set_result(self, message: Any, error: BaseException | None, *, is_final: bool) -> None:
        """Keep what the actor has raised, None if it returned.

        The span ends here if `is_final`; else at the ack or nack, since middleware that follows
        may still change the outcome.
        """
        try:
            state = state_of(message) or self._start(message)
            if not state.ended:
                state.error = error
                state.actor_ended = True
            if is_final:
                self._end(state)
        except Exception:  # noqa: BLE001 - see `start`
            log_failure("ending a delivery")

    @never_raises(do_nothing)
    def set_skipped(self, message: Any, *, is_final: bool) -> None:
        """Keep the `SkipMessage` of a middleware, which Dramatiq is handling at this moment.

        `is_final` is as in `set_result`.
        """
        state = state_of(message) or self._start(message)
        if not state.ended:
            state.skipped = state.actor_ended = True
            state.skip = sys.exc_info()[1]
        if is_final:
            self._end(state)

    def end(self, message: Any) -> None:
        """End the process span of `message` before its ack: the outcome is decided."""
        try:
            state = state_of(message)
            if state is not None:
                self._end(state)
        except Exception:  # noqa: BLE001 - see `start`
            log_failure("ending a delivery")

    @never_raises(do_nothing)
    def end_nacked(self, message: Any) -> None:
        """End the process span of `message` before its nack.

        A message for an actor that is not declared has no span before this one.
        """
        if state_of(message) is not None:
            self.end(message)
            return
        is_declared = message.actor_name in self._broker.actors
        if not is_declared and self._translation.traced_actor(message):
            self._record_unknown_actor(message)

    def leave_settled(self) -> None:
        """Make the span of the settled delivery no longer current in this thread."""
        try:
            settled = self._thread.settling
            if settled is not None:
                self._thread.settling = None
                settled.leave()
        except Exception:  # noqa: BLE001 - see `start`
            log_failure("leaving the span of a delivery")

    def _record_unknown_actor(self, message: Any) -> ProcessOperation:
        set_state(message, ENDED)
        delivery = self._translation.to_delivery(message, UNKNOWN_ACTOR)
        if self._telemetry.wants_arguments:
            delivery = delivery._replace(arguments=arguments_of(message, UNKNOWN_ACTOR))
        ending = outcomes.of_unknown_actor(message)
        operation = self._telemetry.open_process(delivery, message_options.read(message))
        _set_part(operation, message)
        self._telemetry.end_process(operation, ending)
        if self._thread.is_worker_thread:
            self.leave_settled()
            self._thread.settling = operation
            operation.enter()
        return operation

    def _start(self, message: Any) -> DeliveryState:
        """Start the process span of `message` and return its state.

        Returns `ENDED` for a message that is not traced.
        """
        plain = unwrapped(message)
        carrier = message_options.read(plain)
        actor = None if self._telemetry.can_skip(carrier) else self._translation.traced_actor(plain)
        if actor is None:
            set_state(message, ENDED)
            return ENDED
        if self._thread.is_worker_thread:
            before = current_state()
            if before is not None:
                self._end(before)
            if self._thread.settling is not None:
                self.leave_settled()
        delivery = self._translation.to_delivery(message, actor)
        if self._telemetry.wants_arguments:
            delivery = delivery._replace(arguments=arguments_of(plain, actor))
        operation = self._telemetry.start_process(delivery, carrier)
        state = DeliveryState(message, operation)
        set_state(message, state)
        return state

    def _end(self, state: DeliveryState) -> None:
        if state.ended:
            return
        state.ended = True
        state.operation.adapter_state = None
        set_state(state.message, ENDED)
        operation, thread = state.operation, self._thread
        if thread.is_worker_thread:
            operation.stays_current = True
            thread.settling = operation
        _set_part(operation, state.message)
        self._telemetry.end_process(operation, outcomes.of_delivery(self._broker, state))


def _set_part(operation: ProcessOperation, message: Any) -> None:
    """Add to the delivery whether a workflow goes on after it, if it is in one."""
    envelope = operation.incoming.envelope
    if envelope is not None and envelope.workflow is not None:
        part = workflow.part_of(unwrapped(message), envelope.workflow)
        operation.delivery = operation.delivery._replace(part=part)
