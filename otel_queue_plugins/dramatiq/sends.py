"""The sending side: every call of `broker.enqueue`, told apart and traced.

Three things enqueue: user code (a send span, also for the message of the delivery in progress),
Retries (that message is tried again), and the consumer thread of a delay queue (the second hop of a
message that was sent long ago).
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context

from otel_queue_plugins.core.api.suppression import suppress_instrumentation
from otel_queue_plugins.core.safety import do_nothing, log_failure, never_raises
from otel_queue_plugins.dramatiq import attempt as attempts
from otel_queue_plugins.dramatiq import message_options, outcomes
from otel_queue_plugins.dramatiq.actors import seconds
from otel_queue_plugins.dramatiq.translation import Facts, enqueued_at, eta_of

if TYPE_CHECKING:
    from dramatiq import Broker
    from opentelemetry.context import Context

    from otel_queue_plugins.core.operation import SendOperation
    from otel_queue_plugins.core.telemetry import QueueTelemetry
    from otel_queue_plugins.dramatiq.actors import ActorFacts
    from otel_queue_plugins.dramatiq.attempt import Attempt


class Send:
    """One call of `enqueue`. `carrier` None: what the message carries stays as it is.

    `written` says that the carrier has been given to the message, which is about to go out.
    """

    __slots__ = (
        "attempt",
        "carrier",
        "delay",
        "message_id",
        "operation",
        "suppressed",
        "token",
        "written",
    )

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id
        self.carrier: Mapping[str, object] | None = None
        self.operation: SendOperation | None = None
        self.attempt: Attempt | None = None
        self.delay = 0.0
        self.written = False
        self.token: Token[Send | None] | None = None
        self.suppressed: Token[Context] | None = None


_current_send: Final[ContextVar[Send | None]] = ContextVar("otel_queue_dramatiq_send", default=None)


class Sends:
    """The sends of one broker; `quiet`: without client spans for a second hop."""

    def __init__(
        self, broker: Broker, telemetry: QueueTelemetry, facts: Facts, *, quiet: bool
    ) -> None:
        self._broker = broker
        self._telemetry = telemetry
        self._facts = facts
        self._quiet = quiet
        self._thread = threading.local()
        self._delays = False

    @never_raises(do_nothing)
    def note_delayed(self, message: Any) -> None:
        """This consumer thread holds `message` until its time comes."""
        self._delays = True
        self._held()[message.message_id] = message

    def enqueue(self, wrapped: Any, _broker: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `Broker.enqueue(message, *, delay=None)`: the span lasts as long as the call."""
        send = self.begin(args[0] if args else kwargs.get("message"), kwargs.get("delay"))
        if send is None:
            return wrapped(*args, **kwargs)
        try:
            enqueued = wrapped(*args, **kwargs)
        except BaseException as error:
            self.end(send, error)
            raise
        self.end(send, None)
        return enqueued

    def begin(self, message: Any, delay: float | None) -> Send | None:
        """Start what this `enqueue` is; None if it is part of one that has started, or nothing."""
        try:
            outer, message_id = _current_send.get(), message.message_id
            if outer is not None and not outer.written and outer.message_id == message_id:
                return None
            attempt = attempts.current()
            if attempt is None and self._has_nothing_to_tell():
                return None
            send = Send(message_id)
            actor = self._facts.of_traced(message)
            held = self._held().get(message_id) if self._delays and delay is None else None
            if held is not None and not outcomes.calling(self._broker)[1]:
                self._take_second_hop(send, message, held)
            elif actor is not None:
                self._start(send, message, actor, delay, attempt)
            send.token = _current_send.set(send)
        except Exception:  # noqa: BLE001 - as `never_raises` does, for a third of the cost
            log_failure("begin of a send")
            return None
        return send

    def write(self, message: Any, delay: float | None) -> None:
        """Give the message that goes out its carrier: the last moment before it is encoded."""
        try:
            send = _current_send.get()
            if send is None or send.message_id != message.message_id:
                self._send_unwrapped(message, delay)
                return
            send.written = True
            if send.carrier is not None:
                message_options.write(message, send.carrier)
        except Exception:  # noqa: BLE001 - see `begin`
            log_failure("writing the carrier of a message")

    def end(self, send: Send, error: BaseException | None) -> None:
        """`enqueue` has returned, or raised `error`."""
        try:
            if send.token is not None:
                _current_send.reset(send.token)
            if send.suppressed is not None:
                otel_context.detach(send.suppressed)
            if send.operation is not None:
                self._telemetry.end_send(send.operation, error)
            if send.attempt is not None:
                send.attempt.requeue = None if error else send.delay
                send.attempt.requeue_error = error
        except Exception:  # noqa: BLE001 - see `begin`
            log_failure("end of a send")

    def _start(
        self,
        send: Send,
        message: Any,
        actor: ActorFacts,
        delay: float | None,
        attempt: Attempt | None,
    ) -> None:
        carrier: dict[str, object] = {}
        if (
            attempt is not None
            and attempt.message.message_id == message.message_id
            and outcomes.is_retry(self._broker, attempt)
        ):
            send.attempt, send.delay = attempt, seconds(delay) or 0.0
            self._telemetry.requeue(attempt.operation, carrier, eta_of(message, delay))
        elif not self._telemetry.connect():
            self._telemetry.write_current_context(carrier)
        else:
            sent = self._facts.sent(message, actor, delay, attempt)
            send.operation = self._telemetry.start_send(sent, carrier)
        send.carrier = carrier or None

    def _send_unwrapped(self, message: Any, delay: float | None) -> None:
        """The first message through a middleware that had seen nothing of its broker before.

        Nothing tells how this one ends, so its span only says that it was sent.
        """
        send = self.begin(message, delay)
        if send is not None:
            if send.carrier is not None:
                message_options.write(message, send.carrier)
            self.end(send, None)

    def _has_nothing_to_tell(self) -> bool:
        """Nobody listens, and no context is current that a message could hand on."""
        return not self._telemetry.connect() and not otel_context.get_current()

    def _take_second_hop(self, send: Send, message: Any, held: Any) -> None:
        """`held` goes on to its queue: Dramatiq forgets now when it was due, its sender may not."""
        since, eta = enqueued_at(message), eta_of(held, None)
        if since and eta and not message_options.read(message) and self._telemetry.connect():
            carrier: dict[str, object] = {}
            self._telemetry.write_delay(carrier, since, eta)
            send.carrier = carrier or None
        if self._quiet:
            send.suppressed = suppress_instrumentation()

    def _held(self) -> weakref.WeakValueDictionary[str, Any]:
        """The delayed messages of this thread, for as long as its worker keeps them."""
        held: weakref.WeakValueDictionary[str, Any] | None
        held = getattr(self._thread, "held", None)
        if held is None:
            held = self._thread.held = weakref.WeakValueDictionary()
        return held
