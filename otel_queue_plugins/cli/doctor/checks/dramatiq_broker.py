"""A Dramatiq broker: its middleware, and who else traces it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from otel_queue_plugins.cli.doctor.checks import tracers
from otel_queue_plugins.cli.doctor.findings import Finding, broken, fine

if TYPE_CHECKING:
    from otel_queue_plugins.cli.doctor.case import Case

_LINE: Final = "from otel_queue_plugins.dramatiq import instrument; instrument(broker)"


def instrumented(case: Case) -> Iterator[Finding]:
    """The broker has the middleware."""
    if case.broker is None:
        return
    from otel_queue_plugins.dramatiq.registration import find_middleware

    if find_middleware(case.broker) is None:
        yield broken(
            "the broker has no OpenTelemetryMiddleware: nothing of it is traced",
            f"{_LINE}, in the module that workers and senders import",
        )
    else:
        yield fine("the broker is traced")


def middleware_order(case: Case) -> Iterator[Finding]:
    """The middleware comes first, and once: what comes before it is outside of its spans."""
    if case.broker is None:
        return
    from otel_queue_plugins.dramatiq.middleware import OpenTelemetryMiddleware

    middleware = case.broker.middleware
    ours = [at for at, each in enumerate(middleware) if isinstance(each, OpenTelemetryMiddleware)]
    names = [type(each).__name__ for each in middleware]
    if len(ours) > 1:
        yield broken(
            f"OpenTelemetryMiddleware is there {len(ours)} times; the others do nothing",
            "keep one of them: instrument(broker) adds it",
        )
    elif ours and ours[0]:
        before = ", ".join(names[: ours[0]])
        yield broken(
            f"OpenTelemetryMiddleware comes after {before}: what those do before a message runs is "
            "outside of its span, and they may change its outcome",
            f"{_LINE}, which puts it first, after the last add_middleware(..., before=...)",
        )
    elif ours:
        yield fine(f"OpenTelemetryMiddleware is the first of {len(names)}")


def other_tracers(case: Case) -> Iterator[Finding]:
    """No other tracer is called for the same messages in this process."""
    if case.broker is None:
        return
    from otel_queue_plugins.dramatiq.coexistence import active_tracers

    yield from tracers.found(active_tracers(case.broker), "dramatiq")
