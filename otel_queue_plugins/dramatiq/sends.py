"""Report each call of `Broker.enqueue` to the core, by who makes it.

User code sends, and gets a send span; it may also send the message of the current delivery.
`Retries` requeues the message of the current delivery. The consumer thread of a delay queue moves
a delayed message to its own queue, the second hop. Only sends have spans.
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
from otel_queue_plugins.dramatiq import actors, message_options, outcomes
from otel_queue_plugins.dramatiq.actors import seconds
from otel_queue_plugins.dramatiq.delivery_state import current_state
from otel_queue_plugins.dramatiq.translation import Translation, enqueued_at, eta_of

if TYPE_CHECKING:
    from dramatiq import Broker
    from opentelemetry.context import Context

    from otel_queue_plugins.core.operation import SendOperation
    from otel_queue_plugins.core.telemetry import QueueTelemetry
    from otel_queue_plugins.dramatiq.actors import ActorFacts
    from otel_queue_plugins.dramatiq.delivery_state import DeliveryState


class Send:
    """One call of `enqueue`.

    Attributes:
        carrier: What to write into the message; None leaves the message as it is.
        operation: The send span; None for a requeue or a second hop.
        state: The delivery whose message is requeued; None for a send.
        delay: The delay of a requeue in seconds.
        written: Whether the carrier has been written into the message.
    """

    __slots__ = (
        "carrier",
        "delay",
        "message_id",
        "operation",
        "state",
        "suppressed",
        "token",
        "written",
    )

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id
        self.carrier: Mapping[str, object] | None = None
        self.operation: SendOperation | None = None
        self.state: DeliveryState | None = None
        self.delay = 0.0
        self.written = False
        self.token: Token[Send | None] | None = None
        self.suppressed: Token[Context] | None = None


_current_send: Final[ContextVar[Send | None]] = ContextVar("otel_queue_dramatiq_send", default=None)


class Sends:
    """Report what one broker enqueues to the core.

    With `suppress`, a second hop has no client spans.
    """

    def __init__(
        self, broker: Broker, telemetry: QueueTelemetry, translation: Translation, *, suppress: bool
    ) -> None:
        self._broker = broker
        self._telemetry = telemetry
        self._translation = translation
        self._suppress = suppress
        self._thread = threading.local()
        self._delays = False

    @never_raises(do_nothing)
    def hold_delayed(self, message: Any) -> None:
        """Remember that this consumer thread holds `message` until its delay is over."""
        self._delays = True
        self._held_messages()[message.message_id] = message

    def enqueue(self, wrapped: Any, _broker: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `Broker.enqueue(message, *, delay=None)`. The send span lasts as long as it."""
        send = self.start(args[0] if args else kwargs.get("message"), kwargs.get("delay"))
        if send is None:
            return wrapped(*args, **kwargs)
        try:
            enqueued = wrapped(*args, **kwargs)
        except BaseException as error:
            self.end(send, error)
            raise
        self.end(send, None)
        return enqueued

    def start(self, message: Any, delay: float | None) -> Send | None:
        """Start a send, a requeue or a second hop. `delay` is in milliseconds, None for none.

        Returns None if there is nothing to record, or if this call is made inside another one for
        the same message.
        """
        try:
            outer, message_id = _current_send.get(), message.message_id
            if outer is not None and not outer.written and outer.message_id == message_id:
                return None
            state = current_state()
            if state is None and self._can_skip():
                return None
            send = Send(message_id)
            actor = self._translation.traced_actor(message)
            held = self._held_messages().get(message_id) if self._delays and delay is None else None
            if held is not None and not outcomes.calling_middleware(self._broker)[1]:
                self._take_second_hop(send, message, held)
            elif actor is not None:
                self._open(send, message, actor, delay, state)
            send.token = _current_send.set(send)
        except Exception:  # noqa: BLE001 - as `never_raises` does, for a third of the cost
            log_failure("starting a send")
            return None
        return send

    def write(self, message: Any, delay: float | None) -> None:
        """Write the carrier into the message, right before the broker encodes it."""
        try:
            send = _current_send.get()
            if send is None or send.message_id != message.message_id:
                self._send_unpatched(message, delay)
                return
            send.written = True
            if send.carrier is not None:
                message_options.write(message, send.carrier)
        except Exception:  # noqa: BLE001 - see `start`
            log_failure("writing the carrier of a message")

    def end(self, send: Send, error: BaseException | None) -> None:
        """End what `start` returned. `error` is what `enqueue` raised; None if it returned."""
        try:
            if send.token is not None:
                _current_send.reset(send.token)
            if send.suppressed is not None:
                otel_context.detach(send.suppressed)
            if send.operation is not None:
                self._telemetry.end_send(send.operation, error)
            if send.state is not None:
                send.state.requeue = None if error else send.delay
                send.state.requeue_error = error
        except Exception:  # noqa: BLE001 - see `start`
            log_failure("ending a send")

    def _open(
        self,
        send: Send,
        message: Any,
        actor: ActorFacts,
        delay: float | None,
        state: DeliveryState | None,
    ) -> None:
        carrier: dict[str, object] = {}
        if (
            state is not None
            and state.message.message_id == message.message_id
            and outcomes.is_retry(self._broker, state)
        ):
            send.state, send.delay = state, seconds(delay) or 0.0
            self._telemetry.requeue(state.operation, carrier, eta_of(message, delay))
        elif not self._telemetry.connect():
            self._telemetry.write_current_context(carrier)
        else:
            sent = self._translation.to_message(message, actor, delay, state)
            if self._telemetry.wants_arguments:
                sent = sent._replace(arguments=actors.arguments_of(message, actor))
            send.operation = self._telemetry.start_send(sent, carrier)
        send.carrier = carrier or None

    def _send_unpatched(self, message: Any, delay: float | None) -> None:
        """Record a message that is enqueued by an unpatched `enqueue`.

        That is the first one after the middleware was added to a list by hand. Its span ends at
        once, since nothing reports the end of the call.
        """
        send = self.start(message, delay)
        if send is not None:
            if send.carrier is not None:
                message_options.write(message, send.carrier)
            self.end(send, None)

    def _can_skip(self) -> bool:
        """Whether telemetry is not recorded and there is no current context to inject."""
        return not self._telemetry.connect() and not otel_context.get_current()

    def _take_second_hop(self, send: Send, message: Any, held: Any) -> None:
        """Move `held` on to its own queue.

        The message loses its eta here. One that was sent without this package gets an envelope
        with it.
        """
        enqueued, eta = enqueued_at(message), eta_of(held, None)
        if enqueued and eta and not message_options.read(message) and self._telemetry.connect():
            carrier: dict[str, object] = {}
            self._telemetry.write_delay(carrier, enqueued, eta)
            send.carrier = carrier or None
        if self._suppress:
            send.suppressed = suppress_instrumentation()

    def _held_messages(self) -> weakref.WeakValueDictionary[str, Any]:
        """Return the delayed messages that this thread holds, by id."""
        held: weakref.WeakValueDictionary[str, Any] | None
        held = getattr(self._thread, "held", None)
        if held is None:
            held = self._thread.held = weakref.WeakValueDictionary()
        return held
