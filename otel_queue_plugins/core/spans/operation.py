"""One open span, and what is due when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span

from otel_queue_plugins.core.carrier.propagation import EMPTY_INCOMING, Incoming
from otel_queue_plugins.core.messages import Delivery, Route
from otel_queue_plugins.core.metrics.templates import RouteTemplate
from otel_queue_plugins.core.metrics.waiting import Waiting

_NO_DELIVERY: Final = Delivery(route=Route(system="", destination="", task=""), id="")
_NOT_WAITING: Final = Waiting()

MAX_DEPTH: Final = 64


class Operation:
    """Something that is current from `enter` to `leave`, whatever is entered or left meanwhile."""

    __slots__ = ("_depth", "_outer", "_place", "_token", "context")

    context: Context
    _depth: int
    _outer: Operation | None
    _place: Token[Operation | None] | None
    _token: Token[Context]

    def enter(self) -> None:
        """Make the span current."""
        outer = _innermost.get()
        self._depth = 0
        self._outer = None if outer is None or outer.has_left() else self._inside(outer)
        self._place = _innermost.set(self)
        self._token = otel_context.attach(self.context)

    def leave(self) -> None:
        """Put back what was current before, unless one around this has done so already."""
        place = self._place
        if place is None:
            return
        outer, self._outer, self._place = self._outer, None, None
        while outer is not None and outer._place is not None:  # noqa: SLF001 - of its own class
            outer = outer._outer  # noqa: SLF001
        if outer is not None:
            return
        try:
            _innermost.reset(place)
        except ValueError:
            return  # said in another thread or asyncio task, whose context is its own
        otel_context.detach(self._token)

    def process_operation(self) -> ProcessOperation | None:
        """The delivery in which this was entered, while both are open."""
        outer = self._outer
        return None if outer is None else outer.process_operation()

    def has_left(self) -> bool:
        """Left in another thread or asyncio task, so that it is still innermost in this one."""
        return self._place is None

    def _inside(self, outer: Operation) -> Operation | None:
        """`outer`, unless that is so deep that ends must be missing; forgets those around then."""
        self._depth = outer._depth + 1
        if self._depth < MAX_DEPTH:
            return outer
        self._depth = 0
        _innermost.set(None)
        return None


_innermost: Final[ContextVar[Operation | None]] = ContextVar("otel_queue_innermost", default=None)


class SendOperation(Operation):
    """A message being sent. `template` is None when nobody collects telemetry."""

    __slots__ = ("ended_ns", "span", "started_ns", "template")

    def __init__(
        self,
        template: RouteTemplate | None = None,
        span: Span = INVALID_SPAN,
        started_ns: int = 0,
        context: Context = EMPTY_INCOMING.context,
    ) -> None:
        self.context = context
        self._place = None
        self.template = template
        self.span = span
        self.started_ns = started_ns
        self.ended_ns = 0


class ProcessOperation(Operation):
    """A delivery being processed. `context` is what the task runs in.

    `template` is None when nobody collects telemetry; the context is handed on all the same.
    `adapter_state` belongs to the adapter. With `stays_current` the span stays current after its
    end, until the adapter calls `leave`: what the framework does until then is inside of it.
    """

    __slots__ = (
        "adapter_state",
        "delivery",
        "ended",
        "incoming",
        "span",
        "started_ns",
        "stays_current",
        "template",
        "waiting",
    )

    def __init__(
        self,
        delivery: Delivery = _NO_DELIVERY,
        incoming: Incoming | None = None,
        waiting: Waiting = _NOT_WAITING,
        context: Context | None = None,
        template: RouteTemplate | None = None,
        span: Span = INVALID_SPAN,
        started_ns: int = 0,
    ) -> None:
        self.incoming = incoming or EMPTY_INCOMING
        self.context = self.incoming.context if context is None else context
        self._place = None
        self.delivery = delivery
        self.waiting = waiting
        self.template = template
        self.span = span
        self.started_ns = started_ns
        self.ended = False
        self.adapter_state: object = None
        self.stays_current = False

    def process_operation(self) -> ProcessOperation | None:
        """Itself, until it is over."""
        return None if self.has_left() else self

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Run code that belongs to this delivery, in whichever thread, also after its end."""
        visit = _Visit(self)
        visit.enter()
        try:
            yield
        finally:
            visit.leave()


class _Visit(Operation):
    """Code inside a delivery that it neither begins nor ends."""

    __slots__ = ("_visited",)

    def __init__(self, visited: ProcessOperation) -> None:
        self.context = visited.context
        self._place = None
        self._visited = visited

    def process_operation(self) -> ProcessOperation | None:
        """The delivery."""
        return None if self.has_left() else self._visited


class CurrentDelivery:
    """The delivery that the running code belongs to; read like a `ContextVar`."""

    def get(self) -> ProcessOperation | None:
        """It, None outside of any."""
        innermost = _innermost.get()
        return None if innermost is None else innermost.process_operation()


current_delivery: Final = CurrentDelivery()
