"""What is replaced in Python and in the OpenTelemetry API, since which version of them, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_queue_plugins.core.patching import Patch

if TYPE_CHECKING:
    from otel_queue_plugins.core.patching import Table, Wrapper


def of_log_correlation(make_record: Wrapper) -> Table:
    """While log records are to name their trace and their task. Versions are Python's."""
    return {
        "logging:Logger": {
            # A record factory collides with the `extra` of a caller, which raises.
            "makeRecord": Patch(make_record, "3.10", "labels on every record"),
        },
    }


def of_log_trace_url(make_record: Wrapper) -> Table:
    """While log records of failing tasks are to have the URL of their trace. As above."""
    return {
        "logging:Logger": {
            "makeRecord": Patch(make_record, "3.10", "a label on every record"),
        },
    }


def of_log_export(call_handlers: Wrapper) -> Table:
    """While log records are exported. Versions are Python's."""
    return {
        "logging:Logger": {
            # Celery and `dictConfig` throw handlers away.
            "callHandlers": Patch(call_handlers, "3.10", "every record that has handlers"),
        },
    }


def of_termination(on_signal: Wrapper, on_getsignal: Wrapper) -> Table:
    """While SIGTERM would end the process without a flush. Versions are Python's."""
    return {
        "signal": {
            "signal": Patch(on_signal, "3.10", "the default action is wanted, or no more"),
            "getsignal": Patch(on_getsignal, "3.10", "shows the default action, not ours"),
        },
    }


def of_first_use(signal: str, use: Wrapper, make_observable: Wrapper) -> Table:
    """While nobody has set a provider for `signal`. Versions are those of the API.

    All of these are private. With a version that has none of that name, providers come with the
    first message.
    """
    used = Patch(use, "1.44", "the first span, measurement or log record is not lost")
    made = Patch(make_observable, "1.44", "nobody asks its callbacks before there is a reader")
    tables: dict[str, Table] = {
        "traces": {"opentelemetry.trace:ProxyTracer": {"_tracer": used}},
        "metrics": {
            "opentelemetry.metrics._internal.instrument:_ProxyCounter": {"add": used},
            "opentelemetry.metrics._internal.instrument:_ProxyUpDownCounter": {"add": used},
            "opentelemetry.metrics._internal.instrument:_ProxyHistogram": {"record": used},
            "opentelemetry.metrics._internal.instrument:_ProxyGauge": {"set": used},
            "opentelemetry.metrics._internal:_ProxyMeter": {
                "create_observable_counter": made,
                "create_observable_up_down_counter": made,
                "create_observable_gauge": made,
            },
        },
        "logs": {"opentelemetry._logs._internal:ProxyLogger": {"_logger": used}},
    }
    return tables[signal]
