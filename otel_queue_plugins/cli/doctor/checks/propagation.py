"""What a message carries of the trace it is sent in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from otel_queue_plugins.cli.doctor.checks import problems
from otel_queue_plugins.cli.doctor.findings import Finding, broken, fine
from otel_queue_plugins.core import semconv

if TYPE_CHECKING:
    from otel_queue_plugins.cli.doctor.case import Case

_TRACE_ID: Final = 0x0AF7651916CD43DD8448EB211C80319C
_SPAN_ID: Final = 0xB7AD6B7169203331
_LAST_DIGITS: Final = f"{_TRACE_ID:032x}"[16:]  # some formats have no more
_DEFAULT: Final = "OTEL_PROPAGATORS=tracecontext,baggage"


def propagators(case: Case) -> Iterator[Finding]:
    """They are installed, and one of them writes the trace into a message."""
    yield from problems.findings(case, "propagators")
    carrier = _carrier()
    names = ", ".join([*carrier, semconv.CARRIER_KEY])
    written = "".join(carrier.values()).replace("-", "").lower()
    if _LAST_DIGITS in written:
        yield fine(f"a message carries {names}")
    else:
        yield broken(
            f"a message carries {names}, and nothing of the trace: its process span begins another",
            _DEFAULT,
        )


def _carrier() -> dict[str, str]:
    """What the global propagator writes for a span and an entry of baggage."""
    from opentelemetry import baggage, propagate, trace
    from opentelemetry.context import Context

    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    span = trace.SpanContext(_TRACE_ID, _SPAN_ID, is_remote=False, trace_flags=flags)
    context = trace.set_span_in_context(trace.NonRecordingSpan(span), Context())
    carrier: dict[str, str] = {}
    propagate.inject(carrier, baggage.set_baggage("key", "value", context))
    return carrier
