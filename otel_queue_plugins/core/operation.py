"""One open span, and what is due when it ends."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span

from otel_queue_plugins.core.messages import Delivery, Route
from otel_queue_plugins.core.prepared import Prepared
from otel_queue_plugins.core.propagation import Incoming
from otel_queue_plugins.core.waiting import Waiting

_NO_DELIVERY: Final = Delivery(route=Route(system="", destination="", task=""), id="")
_NOT_WAITING: Final = Waiting()


class SendOperation:
    """A message being sent. `prepared` is None when nobody collects telemetry."""

    __slots__ = ("ended_ns", "prepared", "span", "started_ns", "token")

    def __init__(
        self,
        prepared: Prepared | None = None,
        span: Span = INVALID_SPAN,
        started_ns: int = 0,
    ) -> None:
        self.prepared = prepared
        self.span = span
        self.started_ns = started_ns
        self.ended_ns = 0
        self.token: Token[Context] | None = None

    def leave(self) -> None:
        """Put back the context that was current before."""
        if self.token is not None:
            otel_context.detach(self.token)
            self.token = None


class ProcessOperation:
    """A delivery being processed. `context` is what the task runs in.

    `prepared` is None when nobody collects telemetry; the context is handed on all the same.
    """

    __slots__ = (
        "_delivery_token",
        "_token",
        "context",
        "delivery",
        "ended",
        "incoming",
        "prepared",
        "span",
        "started_ns",
        "waiting",
    )

    def __init__(  # noqa: PLR0913 - the facts of one delivery, each of which its end needs
        self,
        delivery: Delivery = _NO_DELIVERY,
        incoming: Incoming | None = None,
        waiting: Waiting = _NOT_WAITING,
        context: Context | None = None,
        prepared: Prepared | None = None,
        span: Span = INVALID_SPAN,
        started_ns: int = 0,
    ) -> None:
        self.delivery = delivery
        self.incoming = incoming or Incoming(context=Context())
        self.waiting = waiting
        self.context = self.incoming.context if context is None else context
        self.prepared = prepared
        self.span = span
        self.started_ns = started_ns
        self.ended = False
        self._token: Token[Context] | None = None
        self._delivery_token: Token[ProcessOperation | None] | None = None

    def enter(self) -> None:
        """Make the delivery and its span current."""
        self._token = otel_context.attach(self.context)
        self._delivery_token = current_delivery.set(self)

    def leave(self) -> None:
        """Put back what was current before."""
        if self._delivery_token is not None:
            current_delivery.reset(self._delivery_token)
            self._delivery_token = None
        if self._token is not None:
            otel_context.detach(self._token)
            self._token = None


current_delivery: Final[ContextVar[ProcessOperation | None]] = ContextVar(
    "otel_queue_current_delivery", default=None
)
"""The delivery that the running code belongs to, None outside of any."""
