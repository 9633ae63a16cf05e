"""`otel-queue tail`: take OTLP in, and show each trace as a tree when it is complete."""

from __future__ import annotations

import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

from rich.console import Console

from otel_queue_plugins.cli.queues.failures import (
    INTERRUPTED,
    OK,
    UNREACHABLE,
    WRONG,
    discard,
    write_error,
)
from otel_queue_plugins.cli.received import ReceivedSpan
from otel_queue_plugins.cli.tail import filters
from otel_queue_plugins.cli.tail.gathering import Gathering
from otel_queue_plugins.cli.tail.keys import pressed
from otel_queue_plugins.cli.tail.receiving import TailReceiver, serve_grpc
from otel_queue_plugins.cli.view.page import print_metrics, print_traces
from otel_queue_plugins.cli.view.trace import Trace, traces
from otel_queue_plugins.trace_links import trace_url

_NAME: Final = "otel-queue tail"
_METRICS_KEY: Final = "m"
_LONGEST_WAIT_S: Final = 1.0
_HEADERS: Final = "OTEL_EXPORTER_OTLP_HEADERS"


def tail(parsed: Namespace) -> int:
    """Run the command; the exit code: 0 done, 1 not enough traces, 3 a port is taken."""
    receiver = TailReceiver(
        Gathering(),
        port=parsed.port,
        forward_to=parsed.forward,
        forward_headers=_headers() if parsed.forward else None,
    )
    with ExitStack() as stack:
        try:
            stack.enter_context(receiver)
            stop = serve_grpc(parsed.grpc_port, receiver.respond) if parsed.grpc_port else None
        except OSError as error:
            write_error(_taken(parsed, error), _NAME)
            return UNREACHABLE
        if stop is not None:
            stack.callback(stop)
        tailing = _Tailing(parsed, receiver)
        tailing.say_where(has_grpc=stop is not None)
        if not parsed.json and stack.enter_context(pressed(_METRICS_KEY, tailing.want_metrics)):
            tailing.say("m shows metrics, Ctrl-C ends")
        try:
            code = tailing.run()
        except KeyboardInterrupt:
            code = INTERRUPTED if parsed.once else OK
        except BrokenPipeError:
            discard(sys.stdout.fileno())
            return OK
        tailing.sum_up()
        return code


class _Tailing:
    """One run of the command."""

    def __init__(self, parsed: Namespace, receiver: TailReceiver) -> None:
        self._parsed = parsed
        self._receiver = receiver
        self._console = Console(force_terminal=sys.stdout.isatty(), highlight=False)
        self._shown: set[str] = set()
        self._failures = 0
        self._wants_metrics = False

    def say_where(self, *, has_grpc: bool) -> None:
        """Say what to set in the app."""
        self.say(f"OTEL_EXPORTER_OTLP_ENDPOINT={self._receiver.endpoint} (http/protobuf)")
        if has_grpc:
            port = self._parsed.grpc_port
            self.say(
                f"or OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{port} "
                "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"
            )
        elif self._parsed.grpc_port:
            self.say("grpcio is not installed: OTLP over HTTP alone")

    def want_metrics(self) -> None:
        """Show metrics soon. Called in another thread."""
        self._wants_metrics = True
        self._receiver.wake()

    def run(self) -> int:
        """Show traces until the command ends; the exit code."""
        parsed = self._parsed
        deadline = None if parsed.timeout is None else time.monotonic() + parsed.timeout
        while True:
            left = _LONGEST_WAIT_S if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return WRONG if parsed.once else OK
            for spans, is_continued in self._receiver.due(min(left, _LONGEST_WAIT_S)):
                self._show(spans, is_continued=is_continued)
                if parsed.once and len(self._shown) >= parsed.once:
                    return OK
            if self._wants_metrics:
                self._wants_metrics = False
                print_metrics(self._console, self._receiver.points())
            self._report_failures()

    def sum_up(self) -> None:
        """Show metrics if they are wanted, and how many traces there were."""
        if self._parsed.metrics and not self._parsed.json:
            print_metrics(self._console, self._receiver.points())
        number = len(self._shown)
        self.say(f"{number} trace{'s' * (number != 1)} shown")

    def _show(self, spans: Sequence[ReceivedSpan], *, is_continued: bool) -> None:
        if not filters.is_wanted(spans, self._parsed):
            return
        (trace,) = traces(spans)
        self._shown.add(trace.trace_id)
        url = trace_url(
            trace.trace_id,
            span_id=trace.root.span_id,
            start=trace.start_ns / 1e9,
            end=trace.end_ns / 1e9,
        )
        if self._parsed.json:
            print(json.dumps(_document(trace, url)), flush=True)  # noqa: T201
            return
        title = trace.root.name + (" (more of it)" if is_continued else "")
        print_traces(
            self._console,
            [trace],
            {trace.trace_id: title},
            links={trace.trace_id: url} if url else {},
            has_legend=len(self._shown) == 1 and not is_continued,
        )

    def _report_failures(self) -> None:
        """Say that what was passed on did not arrive: once, until the next one does not."""
        failures = self._receiver.forward_failures
        if len(failures) > self._failures:
            write_error(f"not passed on: {failures[-1]} ({len(failures)} so far)", _NAME)
            self._failures = len(failures) if self._failures == 0 else 1 << 62

    def say(self, text: str) -> None:
        """Write a line to stderr, unless the command is to be quiet."""
        if not self._parsed.quiet:
            write_error(text, _NAME)


def _document(trace: Trace, url: str | None) -> dict[str, Any]:
    return {
        "trace_id": trace.trace_id,
        "trace_url": url,
        "name": trace.root.name,
        "duration_s": trace.duration_s,
        "failed": any(filters.has_failed(row.span) for row in trace.rows),
        "spans": [
            {
                "span_id": row.span.span_id,
                "parent_id": row.span.parent_id or None,
                "service": row.span.service,
                "name": row.span.name,
                "kind": row.span.kind,
                "start_ns": row.span.start_ns,
                "duration_s": row.span.duration_s,
                "status": row.span.status,
                "attributes": dict(row.span.attributes),
                "links": [
                    {"trace_id": link.trace_id, "span_id": link.span_id} for link in row.span.links
                ],
            }
            for row in trace.rows
        ],
    }


def _headers() -> dict[str, str]:
    pairs = (each.partition("=") for each in os.environ.get(_HEADERS, "").split(","))
    from urllib.parse import unquote

    return {name.strip(): unquote(value.strip()) for name, _, value in pairs if name.strip()}


def _taken(parsed: Namespace, error: OSError) -> str:
    ports = {"--port": parsed.port, "--grpc-port": parsed.grpc_port}
    listed = " or ".join(f"{option} {port}" for option, port in ports.items() if port)
    why = error.strerror or error
    return f"cannot listen ({why}): is a collector running? Choose another {listed}"
