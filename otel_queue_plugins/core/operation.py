"""Open spans, which of them are current, and the delivery that is in progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span

from otel_queue_plugins.core.api.recorder import Value
from otel_queue_plugins.core.carrier.propagation import EMPTY_INCOMING, Incoming
from otel_queue_plugins.core.messages import Delivery, Route
from otel_queue_plugins.core.metrics.waiting import Waiting
from otel_queue_plugins.core.route_templates import RouteTemplate

_NO_DELIVERY: Final = Delivery(route=Route(system="", destination="", task=""), id="")
_NOT_WAITING: Final = Waiting()

MAX_DEPTH: Final = 64


class Operation:
    """A span that is current from `enter` to `leave`, even if others are left in wrong order."""

    __slots__ = ("_depth", "_entered", "_outer", "_token", "context")

    context: Context
    _depth: int
    _outer: Operation | None
    _entered: Token[Operation | None] | None
    _token: Token[Context]

    def enter(self) -> None:
        """Make the span current."""
        outer = _innermost.get()
        self._depth = 0
        self._outer = None if outer is None or outer.has_left() else self._nest_in(outer)
        self._entered = _innermost.set(self)
        self._token = otel_context.attach(self.context)

    def leave(self) -> None:
        """Make current what was so before, unless an outer operation has done that already."""
        entered = self._entered
        if entered is None:
            return
        outer, self._outer, self._entered = self._outer, None, None
        while outer is not None and outer._entered is not None:  # noqa: SLF001 - of its own class
            outer = outer._outer  # noqa: SLF001
        if outer is not None:
            return
        try:
            _innermost.reset(entered)
        except ValueError:
            return  # entered in another thread or asyncio task, which has a context of its own
        otel_context.detach(self._token)

    def process_operation(self) -> ProcessOperation | None:
        """The delivery in which this was entered, while both are open; else None."""
        outer = self._outer
        return None if outer is None else outer.process_operation()

    def has_left(self) -> bool:
        """Whether `leave` was called, perhaps in another thread or asyncio task."""
        return self._entered is None

    def _nest_in(self, outer: Operation) -> Operation | None:
        """Return `outer`; at 64 levels, where ends must be missing, forget all and return None."""
        self._depth = outer._depth + 1
        if self._depth < MAX_DEPTH:
            return outer
        self._depth = 0
        _innermost.set(None)
        return None


_innermost: Final[ContextVar[Operation | None]] = ContextVar("otel_queue_innermost", default=None)


class SendOperation(Operation):
    """A message being sent. `template` is None while telemetry is not recorded."""

    __slots__ = ("ended_ns", "span", "started_ns", "template")

    def __init__(
        self,
        template: RouteTemplate | None = None,
        span: Span = INVALID_SPAN,
        started_ns: int = 0,
        context: Context = EMPTY_INCOMING.context,
    ) -> None:
        self.context = context
        self._entered = None
        self.template = template
        self.span = span
        self.started_ns = started_ns
        self.ended_ns = 0


class ProcessOperation(Operation):
    """A delivery being processed. `context` is what the task runs in.

    `template` is None while telemetry is not recorded; the task runs in the context all the same.
    `adapter_state` belongs to the adapter. `correlated` are attributes that log records have, too;
    None if correlation is off. `broken_workflow` is the kind of a workflow that cannot go on after
    this delivery, whatever its own outcome is; None without one. `was_replaced` is True if another
    message takes the place of this one in its workflow. With `stays_current` the span stays current
    after its end, until the adapter calls `leave`: what the framework does until then is inside of
    it.
    """

    __slots__ = (
        "adapter_state",
        "broken_workflow",
        "correlated",
        "delivery",
        "ended",
        "incoming",
        "span",
        "started_ns",
        "stays_current",
        "template",
        "waiting",
        "was_replaced",
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
        self._entered = None
        self.delivery = delivery
        self.waiting = waiting
        self.template = template
        self.span = span
        self.started_ns = started_ns
        self.ended = False
        self.adapter_state: object = None
        self.correlated: dict[str, Value] | None = None
        self.stays_current = False
        self.broken_workflow: str | None = None
        self.was_replaced = False

    def process_operation(self) -> ProcessOperation | None:
        """This operation, until it was left; then None."""
        return None if self.has_left() else self

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Run code as a part of this delivery, in any thread, also after its end."""
        scope = _InsideDelivery(self)
        scope.enter()
        try:
            yield
        finally:
            scope.leave()


class _InsideDelivery(Operation):
    """Code that runs as a part of a delivery, without being its start or its end."""

    __slots__ = ("_delivery",)

    def __init__(self, delivery: ProcessOperation) -> None:
        self.context = delivery.context
        self._entered = None
        self._delivery = delivery

    def process_operation(self) -> ProcessOperation | None:
        """The delivery, until this was left; then None."""
        return None if self.has_left() else self._delivery


class CurrentDelivery:
    """The delivery in progress in this thread or asyncio task; read like a `ContextVar`."""

    def get(self) -> ProcessOperation | None:
        """The operation of the delivery in progress; None outside of one."""
        innermost = _innermost.get()
        return None if innermost is None else innermost.process_operation()


current_delivery: Final = CurrentDelivery()
