"""The workers that run now, and whether they run the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.cli.doctor.checks.queues import NO_ANSWER
from otel_queue_plugins.cli.doctor.findings import Finding, broken, fine, unknown

if TYPE_CHECKING:
    from otel_queue_plugins.cli.doctor.case import Case

_OURS: Final = "otel_queue_plugins"
_DRAMATIQ: Final = (
    "Dramatiq has no way to ask its workers; ask each at OTEL_QUEUE_HTTP, path /stats"
)
_SHOWN: Final = 5


def workers(case: Case) -> Iterator[Finding]:
    """Some answer, all of them run this package, in one version."""
    if case.access is None or case.app is None:
        if case.broker is not None and not case.is_offline:
            yield unknown(_DRAMATIQ)
        return
    if isinstance(case.states, BrokerError):
        yield unknown(NO_ANSWER)
        return
    answers = case.workers
    if answers is None:
        yield unknown("workers cannot be asked over this broker")
    elif not answers.stats and not answers.queues:
        yield _nobody(case)
    else:
        if silent := sorted(set(answers.queues) - set(answers.stats)):
            yield unknown(f"{_listed(silent)}: did not say in time whether it runs this package")
        with_ours = {name: each for name, each in answers.stats.items() if each.get("versions")}
        without = sorted(set(answers.stats) - set(with_ours))
        if without:
            yield broken(
                f"{_listed(without)}: without this package, or not instrumented",
                "from otel_queue_plugins.celery import instrument; instrument(app)",
            )
        if with_ours:
            yield from _versions(with_ours)
            yield from _losses(with_ours)


def _nobody(case: Case) -> Finding:
    if not getattr(case.app.conf, "worker_enable_remote_control", True):
        return unknown("workers do not answer: worker_enable_remote_control is off")
    consumers = [] if isinstance(case.states, BrokerError) else case.states.values()
    if any(each.consumers for each in consumers):
        return unknown("queues have consumers, but no worker has answered within a second")
    return broken(
        "no worker has answered within a second; one with a solo pool does not while it runs a "
        "task",
        f"celery -A {case.parsed.app} worker",
    )


def _versions(stats: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """One finding, or one for each package that is there in several versions."""
    found: dict[str, Counter[str]] = {}
    for each in stats.values():
        for package, version in each["versions"].items():
            found.setdefault(package, Counter())[str(version)] += 1
    mixed = {package: versions for package, versions in found.items() if len(versions) > 1}
    for package, versions in mixed.items():
        listed = ", ".join(f"{version} on {number}" for version, number in versions.items())
        yield broken(f"workers run several versions of {package}: {listed}", _older(stats, package))
    if not mixed:
        pools = ", ".join(sorted({str(each.get("pool")) for each in stats.values()}))
        version = next(iter(found.get(_OURS, {"?": 1})))
        yield fine(f"{_listed(sorted(stats))}: {_OURS} {version}, pool {pools}")


def _older(stats: Mapping[str, Mapping[str, Any]], package: str) -> str:
    """Which workers to start anew: those that do not run what most do."""
    versions = Counter(str(each["versions"].get(package)) for each in stats.values())
    usual = versions.most_common(1)[0][0]
    others = [name for name, each in stats.items() if str(each["versions"].get(package)) != usual]
    return f"install the same there and start them anew: {_listed(sorted(others))}"


def _losses(stats: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    for name, each in sorted(stats.items()):
        dropped = (each.get("telemetry") or {}).get("dropped") or {}
        if total := sum(dropped.values()):
            reasons = ", ".join(f"{reason} {number:g}" for reason, number in dropped.items())
            yield unknown(f"{name} has dropped {total:g} spans since its start: {reasons}")


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
