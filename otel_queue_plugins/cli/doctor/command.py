"""`otel-queue doctor`: run the checks, and show what each has found."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from rich.text import Text

from otel_queue_plugins.cli.doctor import probe
from otel_queue_plugins.cli.doctor.case import Case
from otel_queue_plugins.cli.doctor.findings import Check, Finding, unknown
from otel_queue_plugins.cli.doctor.table import CHECKS
from otel_queue_plugins.cli.queues import apps
from otel_queue_plugins.cli.queues.access import opened
from otel_queue_plugins.cli.queues.failures import (
    OK,
    UNREACHABLE,
    WRONG,
    UsageError,
    printable,
)
from otel_queue_plugins.cli.queues.output import Output
from otel_queue_plugins.core.settings.problems import without_secrets
from otel_queue_plugins.trace_links import trace_url

Named = tuple[str, Finding]

_WORDS: Final = {True: ("ok", "green"), False: ("broken", "red"), None: ("unknown", "yellow")}
_WIDTH: Final = max(len(check.name) for check in CHECKS)


def doctor(parsed: Namespace, output: Output) -> int:
    """Run the command; the exit code.

    1 if there is a line to change, else 3 if something has not answered, else 0.
    """
    _check_usage(parsed)
    with _case(parsed) as case:
        if parsed.probe:
            probe.task_of(case)  # an unknown one is wrong usage, before anything is asked
        case.ask_workers()
        found: list[Named] = []
        for check in CHECKS:
            rows = [(check.name, each) for each in _found(check, case)]
            _show(rows, output)
            found += rows
        trace_id = _trace_id(case)
        if parsed.probe:
            probed = probe.run(case)
            trace_id = probed.trace_id
            rows = [("probe", probed.finding)]
            _show(rows, output)
            found += rows
        _end(found, trace_id, output)
    return _code([finding for _, finding in found])


def _check_usage(parsed: Namespace) -> None:
    has_source = any((parsed.app, parsed.broker, parsed.url))
    if parsed.probe and not (parsed.app or parsed.broker):
        raise UsageError("--probe needs the app with the task: -A or -B")
    if parsed.probe and parsed.offline:
        raise UsageError("--probe sends a task, and --offline sends nothing")
    if not has_source:
        for name in ("framework", "namespace", "key_prefix", "management_url"):
            if getattr(parsed, name) is not None:
                raise UsageError(f"--{name.replace('_', '-')} goes with -A, -B or --url")
        if parsed.queues:
            raise UsageError("--queue goes with -A, -B or --url")


@contextmanager
def _case(parsed: Namespace) -> Iterator[Case]:
    app: Any = apps.celery_app(parsed.app) if parsed.app else None
    broker: Any = apps.dramatiq_broker(parsed.broker) if parsed.broker else None
    has_source = any((parsed.app, parsed.broker, parsed.url))
    with ExitStack() as stack:
        is_asked = has_source and not parsed.offline
        access = stack.enter_context(opened(parsed)) if is_asked else None
        yield Case(parsed, app=app, broker=broker, access=access)


def _found(check: Check, case: Case) -> list[Finding]:
    """What the check has found. One that fails says nothing about the set-up."""
    try:
        return list(check.run(case))
    except Exception as error:  # noqa: BLE001 - the other checks are worth having
        return [unknown(f"this check has failed: {type(error).__name__}: {error}")]


def _show(rows: Sequence[Named], output: Output) -> None:
    if output.as_json:
        return
    for name, finding in rows:
        word, style = _WORDS[finding.ok]
        line = Text().append(f"{word:<8}", style).append(f"{name:<{_WIDTH}}  ", "bold")
        output.line(line.append(_clean(finding.what)))
        if finding.fix and finding.ok is not True:
            output.line(Text(f"{'':8}{'':{_WIDTH}}  -> {_clean(finding.fix)}", "cyan"))


def _end(found: Sequence[Named], trace_id: str | None, output: Output) -> None:
    url = trace_url(trace_id) if trace_id else None
    if output.as_json:
        output.document(
            {
                "checks": [
                    {
                        "name": name,
                        "ok": each.ok,
                        "what": _clean(each.what),
                        "fix": _clean(each.fix) or None,
                    }
                    for name, each in found
                ],
                "trace_id": trace_id,
                "trace_url": url,
            }
        )
        return
    counts = [(word, sum(each.ok is ok for _, each in found)) for ok, (word, _) in _WORDS.items()]
    output.line(Text(", ".join(f"{number} {word}" for word, number in counts), "dim"))
    if url:
        output.line(url)


def _trace_id(case: Case) -> str | None:
    """The trace of the test span that the backend has taken."""
    found = case.export("traces")
    return (found.trace_id or None) if found and found.ok else None


def _code(findings: Sequence[Finding]) -> int:
    wrong = [each for each in findings if each.ok is False]
    if not wrong:
        return OK
    return UNREACHABLE if all(each.may_pass for each in wrong) else WRONG


def _clean(text: str) -> str:
    return without_secrets(printable(" ".join(text.split())))
