"""A Celery app: is it instrumented, by whom else, and what its pool means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from otel_queue_plugins.cli.doctor.checks import problems, tracers
from otel_queue_plugins.cli.doctor.findings import Finding, broken, fine, unknown
from otel_queue_plugins.core.settings.definitions import RELAY
from otel_queue_plugins.sdk.config import plan as plans
from otel_queue_plugins.sdk.config.targets import GRPC, HTTP

if TYPE_CHECKING:
    from otel_queue_plugins.cli.doctor.case import Case

_LINE: Final = "from otel_queue_plugins.celery import instrument; instrument(app)"
_GREEN: Final = ("gevent", "eventlet")
_FORKED: Final = ("prefork", "processes")
_PROTOCOL: Final = f"OTEL_EXPORTER_OTLP_PROTOCOL={HTTP}"


def instrumented(case: Case) -> Iterator[Finding]:
    """`instrument(app)` has run by the time the app is imported."""
    if case.app is None:
        return
    from otel_queue_plugins.celery.plugin import is_instrumented

    if is_instrumented(case.app):
        yield fine(f"the app {case.app.main or case.parsed.app} is traced")
        return
    yield broken(
        "importing the app does not instrument it: what this process sends carries no trace",
        f"{_LINE}, in the module that workers and senders import",
    )


def other_tracers(case: Case) -> Iterator[Finding]:
    """No other tracer is called for the same messages in this process."""
    if case.app is None:
        return
    from otel_queue_plugins.celery.coexistence import active_tracers

    yield from tracers.found(active_tracers(), "celery")


def pool(case: Case) -> Iterator[Finding]:
    """The settings for exports fit the pool; the command line of a worker may choose another."""
    yield from problems.findings(case, "pool")
    if case.app is None:
        return
    name = str(case.app.conf.worker_pool or "prefork")
    kind = name.rpartition(":")[2]
    over_grpc = any(each.protocol == GRPC for each in case.targets())
    if kind in _GREEN and over_grpc:
        yield broken(f"{name}: an export over gRPC stops all its greenlets", _PROTOCOL)
        return
    is_relay = plans.is_relay_on(case.environ) and bool(case.targets())
    if is_relay and case.value(RELAY.variable) and kind not in _FORKED:
        yield unknown(f"{name} forks no processes: {RELAY.variable} has no effect")
        return
    if kind in _FORKED and any(map(case.is_of_application, ("traces", "metrics"))):
        yield unknown(
            f"{name}: each process exports with a copy of the provider that the app has set before "
            "the fork",
            "set it in a receiver of worker_process_init",
        )
        return
    exporter = "the main process for all" if is_relay else "each process for itself"
    yield fine(f"{name}{f', exported by {exporter}' if kind in _FORKED else ''}")
