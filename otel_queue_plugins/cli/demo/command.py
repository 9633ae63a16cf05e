"""`otel-queue demo`: run it, show what arrived, say whether that was everything."""

from __future__ import annotations

import json
import os
import time
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from opentelemetry.util.re import parse_env_headers
from rich.console import Console
from rich.text import Text

from otel_queue_plugins.cli.demo.arrival import trace_of
from otel_queue_plugins.cli.demo.failure import DemoError
from otel_queue_plugins.cli.demo.frameworks import choose
from otel_queue_plugins.cli.demo.progress import Progress
from otel_queue_plugins.cli.demo.scenarios import Scenario
from otel_queue_plugins.cli.demo.session import Plan, Run, run
from otel_queue_plugins.cli.received import ReceivedSpan
from otel_queue_plugins.cli.receiver import OtlpReceiver
from otel_queue_plugins.cli.view.document import metric_documents, trace_document
from otel_queue_plugins.cli.view.line import glyphs_for
from otel_queue_plugins.cli.view.page import print_metrics, print_traces
from otel_queue_plugins.cli.view.quantity import duration
from otel_queue_plugins.cli.view.trace import Trace

_INTERRUPTED = 130


def demo(arguments: Namespace) -> int:
    """Run the demo that `arguments` ask for; the exit code."""
    notices = Console(stderr=True)
    try:
        return _Demo(arguments, notices).run()
    except DemoError as error:
        _complain(notices, error)
        return 1
    except KeyboardInterrupt:
        notices.print("interrupted; everything that was started is stopped", highlight=False)
        return _INTERRUPTED


class _Demo:
    def __init__(self, arguments: Namespace, notices: Console) -> None:
        self._begun = time.monotonic()
        self._as_json = arguments.json
        self._forward_to: str | None = arguments.otlp_endpoint
        self._notices = notices
        self._plan = Plan(
            framework=choose(arguments.framework, arguments.broker_url),
            broker_url=arguments.broker_url,
            deadline=self._begun + arguments.timeout,
        )
        self._receiver = OtlpReceiver(
            forward_to=self._forward_to,
            forward_headers=parse_env_headers(
                os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""), liberal=True
            ),
        )

    def run(self) -> int:
        """The traces are shown before the worker stops, which takes a while."""
        progress = Progress(self._notices)
        with self._receiver, run(self._plan, self._receiver, progress) as done:
            shown = self._show(done)
        errors = [*([done.error] if done.error else []), *self._forward_errors()]
        if self._as_json:
            print(json.dumps(self._document(done, shown, errors), indent=2))  # noqa: T201
        for error in errors:
            _complain(self._notices, error)
        return 1 if errors else 0

    def _show(self, done: Run) -> list[tuple[Scenario, Trace]]:
        shown = _traces(done.scenarios, self._receiver.spans())
        if self._as_json:
            return shown
        console = Console()
        titles = {trace.trace_id: scenario.title for scenario, trace in shown}
        print_traces(console, [trace for _, trace in shown], titles)
        print_metrics(console, self._receiver.points())
        if not done.error:
            took = duration(time.monotonic() - self._begun)
            what = f"{done.arrival.spans} spans in {len(shown)} traces, complete after {took}"
            console.print()
            console.print(Text(f"{glyphs_for(console).ok} {what}", "green"))
        return shown

    def _forward_errors(self) -> list[DemoError]:
        failures = tuple(dict.fromkeys(self._receiver.forward_failures))
        return [DemoError("not passed on:", failures)] if failures else []

    def _document(
        self, done: Run, shown: Sequence[tuple[Scenario, Trace]], errors: Sequence[DemoError]
    ) -> dict[str, Any]:
        return {
            "framework": self._plan.framework.name,
            "broker": done.broker.label,
            "complete": not errors,
            "errors": [{"reason": error.reason, "details": error.details} for error in errors],
            "traces": [
                {"title": scenario.title, **trace_document(trace)} for scenario, trace in shown
            ],
            "metrics": metric_documents(self._receiver.points()),
        }


def _traces(
    scenarios: Sequence[Scenario], spans: Sequence[ReceivedSpan]
) -> list[tuple[Scenario, Trace]]:
    found = ((scenario, trace_of(scenario, spans)) for scenario in scenarios)
    return [(scenario, trace) for scenario, trace in found if trace]


def _complain(console: Console, error: DemoError) -> None:
    sign = glyphs_for(console).failed
    console.print(Text(f"{sign} {error.reason}", "red"), highlight=False)
    for line in error.details:
        console.print(Text(f"  {line}"), highlight=False, soft_wrap=True)
