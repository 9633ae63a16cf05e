"""`otel-queue workers`: what they run, how long, and what became of their telemetry."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from otel_queue_plugins.cli.queues import apps
from otel_queue_plugins.cli.queues.failures import OK, WRONG
from otel_queue_plugins.cli.queues.output import Output, Row
from otel_queue_plugins.cli.view import quantity
from otel_queue_plugins.cli.workers import asking
from otel_queue_plugins.cli.workers.asking import Stats
from otel_queue_plugins.core.extras import required

HEADING: Final = (
    *("WORKER", "PACKAGE", "FRAMEWORK", "POOL"),
    *("SLOTS", "RUNNING", "RESERVED", "SCHEDULED", "LONGEST", "EXPORTED", "DROPPED"),
)
_NUMBERS: Final = range(4, len(HEADING))
_PACKAGE: Final = "otel_queue_plugins"
_UNKNOWN: Final = ("?", "dim")


def workers(parsed: Namespace, output: Output) -> int:
    """Show the workers; the exit code is 1 if none has answered."""
    found = ask(parsed)
    if output.as_json:
        output.document({"workers": list(found)})
    elif found:
        for line in output.table_lines(HEADING, [row(each) for each in found], _NUMBERS):
            output.line(line)
        for reason in reasons(found):
            output.info(reason)
    if not found:
        output.info("no worker has answered")
    return OK if found else WRONG


def ask(parsed: Namespace) -> list[Stats]:
    """The objects of the workers that the arguments name. Raises BrokerError, UsageError."""
    if parsed.http:
        return asking.of_addresses(parsed.http, parsed.timeout)
    return asking.of_celery(app_of(parsed), parsed.timeout)


def app_of(parsed: Namespace) -> Any:
    """The Celery app of the workers that the arguments name. Raises UsageError."""
    if parsed.app is not None:
        return apps.celery_app(parsed.app)
    with required("Celery", "celery"):
        from celery import Celery
    return Celery(broker=parsed.url, set_as_current=False)


def row(stats: Stats) -> Row:
    """The cells of a worker."""
    versions: Mapping[str, str] = stats["versions"] or {}
    framework = str(stats["framework"])
    version = versions.get(framework)
    telemetry: Mapping[str, Any] = stats["telemetry"] or {}
    longest, dropped = stats["longest_running_s"], telemetry.get("dropped")
    return [
        (str(stats["worker"]), "bold"),
        _cell(versions.get(_PACKAGE)),
        (f"{framework} {version}" if version else framework, ""),
        _cell(stats["pool"]),
        _cell(stats["capacity"]),
        _cell(_total(stats["in_flight"])),
        _cell(stats["reserved"]),
        _cell(stats.get("scheduled")),  # an older worker does not tell
        _cell(None if longest is None else quantity.elapsed(longest)),
        _cell(_total(telemetry.get("exported"))),
        _UNKNOWN if dropped is None else _dropped(dropped),
    ]


def _cell(value: object) -> tuple[str, str]:
    return _UNKNOWN if value is None else (str(value), "")


def _dropped(by_reason: Mapping[str, float]) -> tuple[str, str]:
    total = _total(by_reason) or 0
    return (str(total), "red" if total else "")


def _total(value: Mapping[str, float] | float | None) -> float | None:
    """A number, or the sum of numbers by a name."""
    if value is None:
        return None
    total = sum(value.values()) if isinstance(value, Mapping) else value
    return int(total) if total == int(total) else total


def reasons(found: Sequence[Stats]) -> Iterable[str]:
    """Why something is not known, once for each reason and worker."""
    for stats in found:
        by_reason: dict[str, list[str]] = {}
        for name, reason in stats.get("unknown", {}).items():
            by_reason.setdefault(reason, []).append(name)
        for reason, names in by_reason.items():
            listed = "" if len(names) == len(stats["unknown"]) > 1 else f" ({', '.join(names)})"
            yield f"{stats['worker']}: {reason}{listed}"
