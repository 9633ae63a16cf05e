"""With an API that is built in another way than today, its own functions are used."""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otel_queue_plugins.core import exceptions, semconv
from otel_queue_plugins.core.carrier import traceparent
from otel_queue_plugins.core.options import Options

SPAN = NonRecordingSpan(SpanContext(1, 2, is_remote=False))


def imported_anew(name: str) -> Any:
    """A second copy of a module, that nobody else uses."""
    spec: Any = find_spec(name)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_current_api_uses_direct_access_to_the_span() -> None:
    """With today's API the span is read by its key."""
    current = imported_anew("otel_queue_plugins.core.api.context")
    assert current.span_in is not trace.get_current_span
    assert current.span_in(trace.set_span_in_context(SPAN, Context())) is SPAN
    assert current.span_in(Context()) is INVALID_SPAN
    assert trace.get_current_span(current.with_span(SPAN, Context())) is SPAN


def _raising(*_: object) -> Context:
    raise RuntimeError


def _boxed(span: object, where: Context | None = None) -> Context:
    return context.set_value("box", [span], where)


def _twice(span: object, where: Context | None = None) -> Context:
    return context.set_value("other", span, context.set_value("one", span, where))


@pytest.mark.parametrize("other", [_raising, _boxed, _twice])
def test_api_with_another_span_key_uses_its_own_functions(
    other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing raises at import; the functions of the API are used."""
    monkeypatch.setattr(trace, "set_span_in_context", other)
    current = imported_anew("otel_queue_plugins.core.api.context")
    assert current.span_in is trace.get_current_span
    assert current.with_span is other


class _Named:
    """A span context of tomorrow: no tuple."""

    trace_state = is_valid = None

    def __init__(self, *_: object, **__: object) -> None:
        pass


@pytest.mark.parametrize("made", [_Named(), (1, 2)], ids=["no tuple", "shorter"])
def test_api_with_another_span_context_uses_propagators(
    made: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The propagators write and read the context."""
    traceparent._has_known_layout.cache_clear()
    assert traceparent.is_standard(TraceContextTextMapPropagator())
    traceparent._has_known_layout.cache_clear()
    if isinstance(made, tuple):
        made = type("Shorter", (tuple,), {"trace_state": None, "is_valid": True})(made)
    monkeypatch.setattr(traceparent, "SpanContext", lambda *_, **__: made)
    assert not traceparent.is_standard(TraceContextTextMapPropagator())
    traceparent._has_known_layout.cache_clear()


def test_api_without_logs_records_exception_as_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN asks for."""
    monkeypatch.setitem(sys.modules, "opentelemetry._logs", None)
    events: list[str] = []

    class Span(NonRecordingSpan):
        def add_event(self, name: str, *_: object, **__: object) -> None:
            events.append(name)

    for signal in ("logs", "logs/dup"):
        options = Options(exception_signal=signal)
        span = Span(SPAN.get_span_context())
        exceptions.record(span, semconv.LOG_PROCESS_EXCEPTION, {}, options, 1)
    assert events == [semconv.EVENT_EXCEPTION] * 2
