"""Whether the backend takes a test span and a test metric, and what it says if not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from otel_queue_plugins.cli.doctor.findings import Finding, broken, fine, unknown
from otel_queue_plugins.core.settings.problems import without_secrets
from otel_queue_plugins.sdk.config.reader import SIGNALS

if TYPE_CHECKING:
    from otel_queue_plugins.cli.doctor.case import Case
    from otel_queue_plugins.cli.doctor.exports import TestExport

_ITEMS: Final = {"traces": "span", "metrics": "metric", "logs": "log record"}


def backend(case: Case) -> Iterator[Finding]:
    """For each signal that is exported."""
    targets = {each.signal: each for each in case.targets()}
    for signal in SIGNALS:
        if case.is_of_application(signal):
            yield unknown(f"{signal}: what the application's own provider exports is not tried")
        elif signal in targets:
            place = without_secrets(targets[signal].endpoint)
            yield _finding(case, signal, place)
        else:
            others = [each for each in case.plan.exporters.get(signal, ()) if isinstance(each, str)]
            if others:
                yield unknown(f"{signal}: what goes to {', '.join(others)} is not tried")


def _finding(case: Case, signal: str, place: str) -> Finding:
    found = case.export(signal)
    if found is None:
        return unknown(f"{signal}: no test {_ITEMS[signal]} was sent: --offline")
    if found.ok:
        return fine(f"{place} has taken a test {_ITEMS[signal]}{_trace(found)}")
    said = f"; it says: {found.said!r}" if found.said else ""
    return broken(f"{place}: {found.words}{said}", found.fix, may_pass=found.may_pass)


def _trace(found: TestExport) -> str:
    return f" of trace {found.trace_id}" if found.trace_id else ""
