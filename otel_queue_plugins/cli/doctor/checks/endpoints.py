"""Where each signal is sent: endpoint, headers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from otel_queue_plugins.cli.doctor.checks import problems
from otel_queue_plugins.cli.doctor.findings import Finding, broken, fine
from otel_queue_plugins.core.settings.problems import without_secrets
from otel_queue_plugins.sdk.config.targets import HTTP
from otel_queue_plugins.sdk.diagnosis import remedies

if TYPE_CHECKING:
    from otel_queue_plugins.cli.doctor.case import Case
    from otel_queue_plugins.core.settings.problems import Problem
    from otel_queue_plugins.sdk.config.targets import Target


def endpoint(case: Case) -> Iterator[Finding]:
    """Scheme, port and path fit the protocol. What the backend takes cannot be wrong."""
    found = list(problems.of_check(case, "endpoint"))
    suspected: set[str] = set()
    for problem in found:
        if not (problem.is_warning and _is_moot(case, problem)):
            suspected |= set(problem.signals)
            yield broken(problems.setting(problem), problems.fix(problem))
    for target in case.targets():
        if target.signal in suspected:
            continue
        if not _has_path(target) and not case.is_taken(target.signal):
            path = f"/v1/{target.signal}"
            fix = f"{target.named_by}={without_secrets(target.endpoint).rstrip('/')}{path}"
            yield broken(f"{_shown(target)}: {remedies.correct_path(target)}", fix)
        else:
            yield fine(_shown(target))


def _is_moot(case: Case, problem: Problem) -> bool:
    return bool(problem.signals) and all(case.is_taken(each) for each in problem.signals)


def _has_path(target: Target) -> bool:
    if target.protocol != HTTP:
        return True
    return urlsplit(target.endpoint).path.rstrip("/").endswith(f"/v1/{target.signal}")


def _shown(target: Target) -> str:
    place = f"{without_secrets(target.endpoint)} ({target.protocol})"
    return f"{target.signal} to {place}, by {target.named_by}"


def headers(case: Case) -> Iterator[Finding]:
    """They are pairs; names alone are shown, and only of headers that have a value."""
    found = list(problems.findings(case, "headers"))
    if found:
        yield from found
        return
    seen: dict[str, list[str]] = {}
    for target in case.targets():
        for name, value in target.headers:
            if not value.strip("= "):
                yield broken(
                    f"an entry of {target.headers_by} has no value: is its name missing?",
                    f"{target.headers_by}=name=value",
                )
                return
            seen.setdefault(target.headers_by, []).append(name)
    for variable, sent in seen.items():
        yield fine(f"{variable} sends {', '.join(dict.fromkeys(sent))}")
    if not seen and case.targets():
        yield fine("none are sent")
