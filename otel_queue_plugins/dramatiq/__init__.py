"""Traces and metrics for Dramatiq: `instrument(broker)`, or `OpenTelemetryMiddleware` by hand.

Dramatiq is imported when one of the names is first used, so that zero-code instrumentation costs
nothing in a process without Dramatiq.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_queue_plugins.core.extras import required

if TYPE_CHECKING:
    from otel_queue_plugins.dramatiq.middleware import OpenTelemetryMiddleware
    from otel_queue_plugins.dramatiq.registration import instrument, uninstrument

__all__ = ["OpenTelemetryMiddleware", "instrument", "uninstrument"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with required("Dramatiq", "dramatiq"):
        from otel_queue_plugins.dramatiq import registration

    return getattr(registration, name)
