"""`otel-queue top`: queues, workers, messages and traces on a full screen."""

from __future__ import annotations

import logging
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final

from rich.console import Console

from otel_queue_plugins.cli.backends import fetch_trace
from otel_queue_plugins.cli.queues import access
from otel_queue_plugins.cli.queues.actions import backend_url
from otel_queue_plugins.cli.queues.failures import UnreachableError, UsageError, discard
from otel_queue_plugins.cli.received import ReceivedSpan
from otel_queue_plugins.cli.tail.gathering import Gathering
from otel_queue_plugins.cli.tail.receiving import TailReceiver
from otel_queue_plugins.cli.top import terminal
from otel_queue_plugins.cli.top.app import TopApp
from otel_queue_plugins.cli.top.broker import Broker, Queues
from otel_queue_plugins.cli.top.session import Session
from otel_queue_plugins.cli.top.traces import TraceSource
from otel_queue_plugins.cli.top.workers import Workers
from otel_queue_plugins.cli.view.line import glyphs_for

_OUTPUTS: Final = (1, 2)


def top(parsed: Namespace) -> int:
    """Show the view until it is ended; the exit code is 0 then.

    Raises UsageError without a terminal, and what makes every look useless.
    """
    if not terminal.is_there():
        raise UsageError(
            "top needs a terminal; for scripts there are queues, peek, show and workers with --json"
        )
    with session_of(parsed) as session, _silent_logs():
        app = TopApp(session)
        try:
            app.run()
        finally:
            app.wait_for_changes()
            if terminal.is_closed():
                discard(*_OUTPUTS)
    if app.failure:
        raise app.failure
    return app.return_code or 0


@contextmanager
def session_of(parsed: Namespace) -> Iterator[Session]:
    """What the arguments lead to. Raises UsageError, and UnreachableError if a port is taken."""
    source = access.reader_of(parsed, timeout=parsed.timeout).source
    open_access = access.opener(parsed)
    numbers, messages = Broker(open_access), Broker(open_access)
    with ExitStack() as stack:
        stack.callback(messages.close)
        stack.callback(numbers.close)
        receiver = _receiver(parsed, stack)
        yield Session(
            parsed=parsed,
            source=source,
            open_access=open_access,
            queues=Queues(numbers, parsed.queues),
            messages=messages,
            workers=Workers(parsed, source.framework),
            traces=[*([receiver.spans_of] if receiver else []), *_backends(parsed)],
            glyphs=glyphs_for(Console(file=sys.__stdout__)),
            receives_at=receiver.endpoint if receiver else None,
        )


def _backends(parsed: Namespace) -> list[TraceSource]:
    url = backend_url(parsed)
    return [] if url is None else [partial(_fetch, url, parsed.timeout)]


def _fetch(url: str, timeout: float, trace_id: str) -> list[ReceivedSpan]:
    return fetch_trace(url, trace_id, timeout)


def _receiver(parsed: Namespace, stack: ExitStack) -> TailReceiver | None:
    if parsed.receive is None:
        return None
    try:
        return stack.enter_context(TailReceiver(Gathering(), port=parsed.receive))
    except OSError as error:
        why = error.strerror or error
        raise UnreachableError(
            f"--receive {parsed.receive}: cannot listen there ({why})"
        ) from error


@contextmanager
def _silent_logs() -> Iterator[None]:
    """Log nothing: a line on stderr would be drawn over the view."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
