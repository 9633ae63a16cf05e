"""What can be done with the trace of a message: copy its id, open it in a browser, view it."""

from __future__ import annotations

import base64
import os
import shlex
import sys
import webbrowser
from argparse import Namespace
from collections.abc import Sequence

from opentelemetry.trace import SpanContext

from otel_queue_plugins.brokers.facts import StoredMessage
from otel_queue_plugins.brokers.urls import without_password
from otel_queue_plugins.cli import backends
from otel_queue_plugins.cli.queues.failures import NotFoundError, UnreachableError, UsageError
from otel_queue_plugins.cli.queues.output import Output
from otel_queue_plugins.cli.view.page import print_traces
from otel_queue_plugins.cli.view.trace import traces
from otel_queue_plugins.trace_links import trace_url_of_message

Action = dict[str, str | None]


def of(message: StoredMessage, parsed: Namespace) -> list[Action]:
    """The actions for a message; none if it has no trace."""
    if message.creation is None:
        return []
    trace_id, url = f"{message.creation.trace_id:032x}", trace_url_of_message(message)
    command = shlex.join(["otel-queue", "show", message.id, *_target(parsed)])
    found: list[Action] = [
        {
            "name": "copy",
            "label": f"Copy the trace id {trace_id}",
            "command": f"{command} --copy",
            "url": None,
        }
    ]
    if url:
        label = "Open the trace in a browser"
        found.append({"name": "open", "label": label, "command": f"{command} --open", "url": url})
    if backend := backend_url(parsed):
        option = (
            shlex.join(["--backend-url", without_password(backend)]) if parsed.backend_url else ""
        )
        found.append(
            {
                "name": "view",
                "label": "View the trace here",
                "command": f"{command} --view {option}".rstrip(),
                "url": None,
            }
        )
    return found


def backend_url(parsed: Namespace) -> str | None:
    """Where traces can be asked for; None if nothing says so."""
    return parsed.backend_url or backends.default_url(os.environ)


def run(messages: Sequence[StoredMessage], parsed: Namespace, output: Output) -> None:
    """Do what `--copy`, `--open` and `--view` ask for."""
    if not (parsed.copy or parsed.open or parsed.view):
        return
    message = _one(messages)
    if message.creation is None:
        raise NotFoundError(f"{message.id} has no trace: who sent it is not traced")
    if parsed.copy:
        _copy(f"{message.creation.trace_id:032x}", output)
    if parsed.open:
        open_in_browser(trace_url_of_message(message))
    if parsed.view:
        _view(message, message.creation, parsed, output)


def _one(messages: Sequence[StoredMessage]) -> StoredMessage:
    if len({each.creation.trace_id if each.creation else 0 for each in messages}) > 1:
        raise UsageError(f"{len(messages)} messages begin so: give more of the id")
    return messages[0]


def _copy(text: str, output: Output) -> None:
    """Ask the terminal to take `text` into its clipboard (OSC 52), which also works over SSH."""
    terminal = sys.stderr if output.as_json or not output.is_terminal else sys.stdout
    if not terminal.isatty():
        raise UsageError("--copy needs a terminal; the trace id is in the output")
    encoded = base64.b64encode(text.encode()).decode()
    terminal.write(f"\x1b]52;c;{encoded}\x07")
    terminal.flush()


def open_in_browser(url: str | None) -> None:
    """Show the trace. Raises NotFoundError if there is no URL, or no browser."""
    if url is None:
        raise NotFoundError("no URL of the trace is known: set OTEL_QUEUE_TRACE_URL")
    if not webbrowser.open(url):
        raise NotFoundError(f"no browser could be started; the trace is at {url}")


def _view(message: StoredMessage, creation: SpanContext, parsed: Namespace, output: Output) -> None:
    url, trace_id = backend_url(parsed), f"{creation.trace_id:032x}"
    if url is None:
        raise UsageError("--view needs --backend-url: that of the API of Jaeger or Tempo")
    try:
        spans = backends.fetch_trace(url, trace_id, parsed.timeout)
    except backends.BackendError as error:
        raise UnreachableError(str(error)) from error
    if not spans:
        raise NotFoundError(f"{without_password(url)} has no trace {trace_id}, or not yet")
    link = trace_url_of_message(message)
    print_traces(
        output.console,
        traces(spans),
        {trace_id: message.task or message.id},
        links={trace_id: link} if link else {},
    )


def _target(parsed: Namespace) -> list[str]:
    if parsed.app is not None:
        return ["-A", parsed.app]
    if parsed.broker is not None:
        return ["-B", parsed.broker]
    found = ["--url", without_password(parsed.url), "--framework", parsed.framework]
    for name in ("namespace", "key_prefix"):
        if (value := getattr(parsed, name)) is not None:
            found += [f"--{name.replace('_', '-')}", value]
    return found + [part for name in parsed.queues for part in ("--queue", name)]
