"""Stands in for a web framework: what a request does runs inside a span of that request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from otel_queue_plugins.sdk import ensure_providers

Handler = Callable[[], None]

_handlers: Final[dict[str, Handler]] = {}


def request(name: str) -> Callable[[Handler], Handler]:
    """Have `serve` run the decorated function as request `name`."""

    def register(handler: Handler) -> Handler:
        _handlers[name] = handler
        return handler

    return register


def serve(connect: Callable[[], None]) -> None:
    """Answer one request of each kind, once `connect` has reached the broker."""
    ensure_providers()
    connect()
    tracer = trace.get_tracer("shop.web")
    for name, handler in _handlers.items():
        with tracer.start_as_current_span(name, kind=SpanKind.SERVER):
            handler()
