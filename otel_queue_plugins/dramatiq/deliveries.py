"""The worker's side: every delivery begun and ended once, whatever hooks come or do not come."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from otel_queue_plugins.core.safety import do_nothing, log_failure, never_raises
from otel_queue_plugins.dramatiq import attempt as attempts
from otel_queue_plugins.dramatiq import message_options, outcomes
from otel_queue_plugins.dramatiq.actors import UNKNOWN
from otel_queue_plugins.dramatiq.attempt import ENDED, Attempt
from otel_queue_plugins.dramatiq.translation import behind

if TYPE_CHECKING:
    from dramatiq import Broker

    from otel_queue_plugins.core.operation import ProcessOperation
    from otel_queue_plugins.core.telemetry import QueueTelemetry
    from otel_queue_plugins.dramatiq.translation import Facts


class _Thread(threading.local):
    """What is known of a thread. `settling` is the delivery that it settles now, which is over."""

    settles = False
    settling: ProcessOperation | None = None


class Deliveries:
    """The deliveries of one broker."""

    def __init__(self, broker: Broker, telemetry: QueueTelemetry, facts: Facts) -> None:
        self._broker = broker
        self._telemetry = telemetry
        self._facts = facts
        self._thread = _Thread()

    def note_worker_thread(self) -> None:
        """This thread settles one delivery after the other, never one inside another.

        What middleware does while a delivery is settled is inside of it, although it is over.
        """
        self._thread.settles = True

    def begin(self, message: Any) -> None:
        """A middleware or an actor is about to see `message`."""
        try:
            if attempts.of(message) is None:
                self._begin(message)
        except Exception:  # noqa: BLE001 - as `never_raises` does, for a third of the cost
            log_failure("begin of a delivery")

    def note_processed(self, message: Any, error: BaseException | None, *, ends: bool) -> None:
        """The actor is done with `message`; unless that `ends` it, more middleware may follow."""
        try:
            attempt = attempts.of(message) or self._begin(message)
            if not attempt.ended:
                attempt.error = error
                attempt.after_seen = True
            if ends:
                self._end(attempt)
        except Exception:  # noqa: BLE001 - see `begin`
            log_failure("end of a delivery")

    @never_raises(do_nothing)
    def note_skipped(self, message: Any, *, ends: bool) -> None:
        """A middleware skipped `message`; Dramatiq is handling its exception right now."""
        attempt = attempts.of(message) or self._begin(message)
        if not attempt.ended:
            attempt.skipped = attempt.after_seen = True
            attempt.skip = sys.exc_info()[1]
        if ends:
            self._end(attempt)

    def end(self, message: Any) -> None:
        """`message` is being settled: every middleware has had its say."""
        try:
            attempt = attempts.of(message)
            if attempt is not None:
                self._end(attempt)
        except Exception:  # noqa: BLE001 - see `begin`
            log_failure("end of a delivery")

    @never_raises(do_nothing)
    def end_rejected(self, message: Any) -> None:
        """`message` goes to the dead letters, perhaps without having been run."""
        if attempts.of(message) is not None:
            self.end(message)
            return
        if message.actor_name not in self._broker.actors and self._facts.of_traced(message):
            self._record_unknown(message)

    def note_settled(self) -> None:
        """The delivery that this thread has settled is nobody's business any more."""
        try:
            settled = self._thread.settling
            if settled is not None:
                self._thread.settling = None
                settled.leave()
        except Exception:  # noqa: BLE001 - see `begin`
            log_failure("leaving a delivery")

    def _record_unknown(self, message: Any) -> ProcessOperation:
        attempts.mark(message, ENDED)
        delivery, ending = self._facts.delivered(message, UNKNOWN), outcomes.unknown_task(message)
        operation = self._telemetry.record_undelivered(
            delivery, message_options.read(message), ending
        )
        if self._thread.settles:
            self.note_settled()
            self._thread.settling = operation
            operation.enter()
        return operation

    def _begin(self, message: Any) -> Attempt:
        """The attempt that `message` is from now on; a middleware may have kept it from us."""
        plain = behind(message)
        carrier = message_options.read(plain)
        actor = None if self._telemetry.can_skip(carrier) else self._facts.of_traced(plain)
        if actor is None:
            attempts.mark(message, ENDED)
            return ENDED
        if self._thread.settles:
            before = attempts.current()
            if before is not None:
                self._end(before)
            if self._thread.settling is not None:
                self.note_settled()
        operation = self._telemetry.start_process(self._facts.delivered(message, actor), carrier)
        attempt = Attempt(message, operation)
        attempts.mark(message, attempt)
        return attempt

    def _end(self, attempt: Attempt) -> None:
        if attempt.ended:
            return
        attempt.ended = True
        attempt.operation.adapter_state = None
        attempts.mark(attempt.message, ENDED)
        operation, thread = attempt.operation, self._thread
        if thread.settles:
            operation.stays_current = True
            thread.settling = operation
        self._telemetry.end_process(operation, outcomes.of(self._broker, attempt))
