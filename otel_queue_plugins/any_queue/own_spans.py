"""`trace_task` and `trace_operation`: spans of the application inside a delivery."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Span, StatusCode

from otel_queue_plugins.any_queue import generators, values
from otel_queue_plugins.core import exceptions, semconv
from otel_queue_plugins.core.policy.redaction import DEFAULT
from otel_queue_plugins.core.safety import log_failure

if TYPE_CHECKING:
    from typing_extensions import Self

_Function = TypeVar("_Function", bound=Callable[..., Any])


class trace_operation:  # noqa: N801 - it is used like a function
    """Make a span around a block, a child of the current one: `with trace_operation("resize"):`.

    Args:
        name: The name of the span.
        attributes: Its attributes.
        tracer_provider: Where the span goes; None for the global provider.
    """

    def __init__(
        self,
        name: str,
        *,
        attributes: Mapping[str, Any] | None = None,
        tracer_provider: trace.TracerProvider | None = None,
    ) -> None:
        self._name, self._attributes, self._provider = name, attributes, tracer_provider
        self.span: Span = INVALID_SPAN
        self._token: Any = None

    def __enter__(self) -> Self:
        self.open()
        self.resume()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.pause()
        self.close(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def open(self) -> None:
        """Start the span."""
        try:
            tracer = trace.get_tracer(semconv.SCOPE, tracer_provider=self._provider)
            self.span = tracer.start_span(values.text(self._name), attributes=self._attributes)
        except Exception:  # noqa: BLE001 - nothing of ours raises into a task
            log_failure("trace_operation")

    def resume(self) -> None:
        """Make the span current."""
        if self.span is not INVALID_SPAN:
            self._token = otel_context.attach(trace.set_span_in_context(self.span))

    def pause(self) -> None:
        """Make current what was so before."""
        token, self._token = self._token, None
        if token is not None:
            otel_context.detach(token)

    def close(self, error: BaseException | None) -> None:
        """End the span, which has failed with `error`."""
        try:
            if isinstance(error, Exception):
                self._record(error)
            self.span.end()
        except Exception:  # noqa: BLE001 - as in `open`
            log_failure("trace_operation")

    def _record(self, error: Exception) -> None:
        if not self.span.is_recording():
            return
        kind, message = exceptions.type_name(error), exceptions.message(error, DEFAULT)
        self.span.set_attribute(semconv.ERROR_TYPE, kind)
        self.span.set_status(StatusCode.ERROR, message)
        self.span.add_event(
            semconv.EVENT_EXCEPTION,
            {
                semconv.EXCEPTION_TYPE: kind,
                semconv.EXCEPTION_MESSAGE: message,
                semconv.EXCEPTION_STACKTRACE: exceptions.stacktrace(error),
            },
        )


@overload
def trace_task(function: _Function, /) -> _Function: ...
@overload
def trace_task(
    *, name: str | None = None, attributes: Mapping[str, Any] | None = None
) -> Callable[[_Function], _Function]: ...
def trace_task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Any:
    """Make a span around each call of a function, a child of the current one.

    For plain and `async` functions and generators of both kinds. The span of a generator lasts
    until its end, and is current while its own code runs.

    Args:
        function: The function to decorate.
        name: The name of the span; None for the function's qualified name.
        attributes: Attributes of each span.

    Raises:
        TypeError: What is decorated is not callable.
    """
    if function is None:
        return functools.partial(_traced, name=name, attributes=attributes)
    return _traced(function, name=name, attributes=attributes)


def _traced(
    function: Any, *, name: str | None, attributes: Mapping[str, Any] | None
) -> Callable[..., Any]:
    if not callable(function):
        raise TypeError(f"trace_task: {function!r} is not a function; use trace_task(name=...)")
    called = name or values.function_name(function) or type(function).__qualname__
    make = functools.partial(trace_operation, called, attributes=attributes)
    if inspect.isasyncgenfunction(function):
        wrapper = generators.traced_async(function, make)
    elif inspect.isgeneratorfunction(function):
        wrapper = generators.traced(function, make)
    elif inspect.iscoroutinefunction(function):
        wrapper = _traced_coroutine(function, make)
    else:
        wrapper = _traced_plain(function, make)
    return functools.wraps(function)(wrapper)


def _traced_coroutine(function: Any, make: Callable[[], trace_operation]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        with make():
            return await function(*args, **kwargs)

    return call


def _traced_plain(function: Any, make: Callable[[], trace_operation]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with make():
            return function(*args, **kwargs)

    return call
