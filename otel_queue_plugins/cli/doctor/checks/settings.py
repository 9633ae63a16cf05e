"""Variables that do not exist, and values that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from otel_queue_plugins.cli.doctor.checks import problems
from otel_queue_plugins.cli.doctor.findings import Finding, fine

if TYPE_CHECKING:
    from otel_queue_plugins.cli.doctor.case import Case


def variable_names(case: Case) -> Iterator[Finding]:
    """No `OTEL_QUEUE_*` that does not exist, nothing that is almost one of OpenTelemetry's."""
    found = list(problems.findings(case, problems.MISSPELT))
    count = sum(name.startswith("OTEL_") for name in case.environ)
    yield from found or [fine(f"none of the {count} variables OTEL_* is misspelt")]


def settings(case: Case) -> Iterator[Finding]:
    """Every other value can be used."""
    found = list(problems.findings(case, problems.OTHERS))
    yield from found or [fine("their values can be used")]
