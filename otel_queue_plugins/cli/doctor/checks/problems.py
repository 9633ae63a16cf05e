"""Which check shows which of the problems that the reader of the environment has found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otel_queue_plugins.cli.doctor.findings import Finding, broken, unknown
from otel_queue_plugins.sdk.config import specified, variable_names

if TYPE_CHECKING:
    from otel_queue_plugins.cli.doctor.case import Case
    from otel_queue_plugins.core.settings.problems import Problem

MISSPELT: Final = "variable_names"
OTHERS: Final = "settings"
_FORK_SUPPORT: Final = "GRPC_ENABLE_FORK_SUPPORT"
_KNOWN: Final = frozenset({*specified.NAMES, *variable_names.OURS, _FORK_SUPPORT})
_WRONG_ANYWAY: Final = (MISSPELT, "temporality")
# By a part of the variable's name.
_CHECKS: Final = {
    "_HEADERS": "headers",
    "_CERTIFICATE": "tls",
    "_CLIENT_KEY": "tls",
    "_INSECURE": "tls",
    "_TEMPORALITY": "temporality",
    "OTEL_PROPAGATORS": "propagators",
    "OTEL_TRACES_SAMPLER": "sampler",
    _FORK_SUPPORT: "pool",
    "OTEL_EXPORTER_OTLP_": "endpoint",
    "S_EXPORTER": "endpoint",
}


def check_of(variable: str) -> str:
    """The name of the check that shows problems with `variable`."""
    if variable not in _KNOWN:
        return MISSPELT
    return next((check for part, check in _CHECKS.items() if part in variable), OTHERS)


def of_check(case: Case, check: str) -> Iterator[Problem]:
    """The problems for `check`, without those of signals that the application exports itself."""
    for problem in case.problems:
        signals = problem.signals
        is_ours = not signals or not all(case.is_of_application(each) for each in signals)
        if is_ours and check_of(problem.variable) == check:
            yield problem


def findings(case: Case, check: str) -> Iterator[Finding]:
    """Each problem for `check` as something broken; not known to be, if it may be right."""
    for problem in of_check(case, check):
        may_be_right = problem.is_warning and check not in _WRONG_ANYWAY
        yield (unknown if may_be_right else broken)(setting(problem), fix(problem))


def setting(problem: Problem) -> str:
    """The variable, with its value where that may be shown."""
    return str(replace(problem, fix="")).rstrip().removesuffix(":")


def fix(problem: Problem) -> str:
    """What to do, with the variable."""
    return str(replace(problem, value=""))
