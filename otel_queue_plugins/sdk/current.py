"""The global providers, whosever they are."""

from __future__ import annotations

from typing import Any


def current_providers() -> tuple[Any, Any, Any]:
    """The tracer, meter and logger provider; proxies of the API where nobody has set one."""
    from opentelemetry import _logs, metrics, trace

    return (
        trace.get_tracer_provider(),
        metrics.get_meter_provider(),
        _logs.get_logger_provider(),
    )


def has_providers() -> bool:
    """Whether somebody has set a global tracer, meter or logger provider."""
    return not all("Proxy" in type(provider).__name__ for provider in current_providers())
