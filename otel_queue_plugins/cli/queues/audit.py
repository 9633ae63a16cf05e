"""Spans that say who looked at a queue or changed it, sent before the command ends."""

from __future__ import annotations

import getpass
import os
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode

from otel_queue_plugins.brokers.facts import Source
from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.settings import definitions
from otel_queue_plugins.core.settings.variables import Variables
from otel_queue_plugins.sdk import ensure_providers, flush
from otel_queue_plugins.version import VERSION

MAX_LINKS: Final = 20
_ALL: Final = "all"


class Audit:
    """The span of one operation. `is_sent` says at its end whether the backend has it in time."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.is_sent = False

    @property
    def context(self) -> SpanContext | None:
        """What the next delivery of a requeued message links to; None if nothing is recorded."""
        context = self._span.get_span_context()
        return context if context.is_valid else None

    @property
    def trace_id(self) -> str | None:
        """In hexadecimal; None if nothing is recorded, or the sampler has left the span out."""
        context = self.context
        is_sent = context is not None and context.trace_flags.sampled
        return f"{context.trace_id:032x}" if context and is_sent else None

    def link(self, creations: Iterable[SpanContext]) -> None:
        """Link to the messages that are concerned."""
        for context in creations:
            self._span.add_link(context)

    def count(self, *, matched: int, changed: int) -> None:
        """Say how many messages were concerned, and how many were changed."""
        self._span.set_attribute(semconv.ADMIN_MATCHED, matched)
        self._span.set_attribute(semconv.ADMIN_CHANGED, changed)


@contextmanager
def recorded(
    operation: str,
    source: Source,
    *,
    queue: str = "",
    state: str = "",
    verb: str = "",
    links: Iterable[SpanContext] = (),
) -> Iterator[Audit]:
    """A span around an operation, sent at its end. `verb` is the name's if not the operation."""
    ensure_providers("traces")
    tracer = trace.get_tracer(semconv.SCOPE, VERSION, schema_url=semconv.SCHEMA_URL)
    span = tracer.start_span(
        f"{verb or operation} {queue}".rstrip(),
        kind=SpanKind.CLIENT,
        attributes=_attributes(operation, source, queue, state),
        links=[Link(context) for context in links],
    )
    audit = Audit(span)
    try:
        yield audit
    except BaseException as error:
        span.set_attribute(semconv.ERROR_TYPE, type(error).__name__)
        span.set_status(Status(StatusCode.ERROR))
        raise
    finally:
        span.end()
        if audit.context:
            audit.is_sent = flush()


@contextmanager
def of_look(
    parsed: Namespace, operation: str, source: Source, *, queue: str = "", state: str = ""
) -> Iterator[Audit | None]:
    """The same around a look, if `--audit` or the environment asks for it; else None."""
    if not (parsed.audit or _is_all()):
        yield None
        return
    with recorded(operation, source, queue=queue, state=state) as audit:
        yield audit


def _is_all() -> bool:
    return definitions.read(Variables(os.environ), definitions.AUDIT) == _ALL


def _attributes(operation: str, source: Source, queue: str, state: str) -> dict[str, str]:
    found = {
        semconv.ADMIN_OPERATION: operation,
        semconv.ADMIN_STATE: state,
        semconv.ADMIN_USER: _user(),
        semconv.MESSAGING_SYSTEM: source.system,
        semconv.MESSAGING_DESTINATION_NAME: queue,
        semconv.FRAMEWORK: source.framework,
    }
    return {name: value for name, value in found.items() if value}


def _user() -> str:
    """The name of the user; "" where the system has none for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""
