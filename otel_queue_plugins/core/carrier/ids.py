"""Span ids that another process can compute.

The ids of spans are random, with two exceptions. Those of the send spans of a group's members are
computed from the group, so that the message which joins them can link to each without carrying a
list. And a process span that two processes may have to write (the one that runs the task, and the
one that sees it die) gets an id that both know, and a trace id that both compute from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Final, Protocol

from opentelemetry.trace import SpanContext

from otel_queue_plugins.core.carrier.envelope import ASSUMED_FLAGS, header_safe
from otel_queue_plugins.core.messages import Joined, Membership

MAX_LINKS: Final = 20

_span_id: ContextVar[int | None] = ContextVar("otel_queue_chosen_span_id", default=None)
_trace_id: ContextVar[int | None] = ContextVar("otel_queue_chosen_trace_id", default=None)


class _IdGenerator(Protocol):
    def generate_span_id(self) -> int: ...

    def generate_trace_id(self) -> int: ...

    def is_trace_id_random(self) -> bool: ...


class ChosenIdGenerator:
    """An id generator that returns each chosen id once, and else an id of the wrapped one."""

    def __init__(self, generator: _IdGenerator) -> None:
        self._generator = generator

    def generate_span_id(self) -> int:
        """The chosen id, or one of the wrapped generator."""
        chosen = _span_id.get()
        if chosen is None:
            return self._generator.generate_span_id()
        _span_id.set(None)
        return chosen

    def generate_trace_id(self) -> int:
        """The chosen id, or one of the wrapped generator."""
        chosen = _trace_id.get()
        if chosen is None:
            return self._generator.generate_trace_id()
        _trace_id.set(None)
        return chosen

    def is_trace_id_random(self) -> bool:
        """As the wrapped generator says."""
        return self._generator.is_trace_id_random()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)


def enable_chosen_ids(tracer: Any) -> bool:
    """Make `choose_next_ids` work for `tracer`; False if it has no id generator to wrap."""
    generator: Any = getattr(tracer, "id_generator", None)
    if not hasattr(generator, "generate_span_id"):
        return False
    if not isinstance(generator, ChosenIdGenerator):
        tracer.id_generator = ChosenIdGenerator(generator)
    return True


def choose_next_ids(span_id: int | None, trace_id: int | None = None) -> None:
    """Set the ids of the next span that is started in this context; None resets them.

    The trace id is used only for a span without a parent.
    """
    _span_id.set(span_id)
    _trace_id.set(trace_id)


def trace_id_of(span_id: int) -> int:
    """The trace id for a span with a chosen id that has no parent."""
    return _digest(f"{span_id:016x}", 16)


def choose_ids_for_member(parent: SpanContext, member: Membership) -> None:
    """Set the ids of the next span to those that receivers compute for this member.

    Members that are sent outside of a trace share one.
    """
    # The ids as the envelope carries them: the receiver computes from those.
    group_id = header_safe(member.id)
    together = header_safe(member.sent_with or member.id)
    trace_id = parent.trace_id if parent.is_valid else _digest(together, 16)
    index = member.index
    choose_next_ids(None if index is None else _member_span_id(trace_id, group_id, index), trace_id)


def member_contexts(joined: Joined, group: str | None = None) -> Iterator[SpanContext]:
    """Compute the contexts of the joined members' send spans, at most 20.

    `group` is the id of their group where `joined` has none.
    """
    group_id = header_safe(joined.id or group or "")
    if not (joined.trace_id and group_id):
        return
    for index in range(min(joined.size, MAX_LINKS)):
        span_id = _member_span_id(joined.trace_id, group_id, index)
        yield SpanContext(joined.trace_id, span_id, is_remote=True, trace_flags=ASSUMED_FLAGS)


def _member_span_id(trace_id: int, group_id: str, index: int) -> int:
    return _digest(f"{trace_id:032x}/{group_id}/{index}", 8)


def _digest(text: str, size: int) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=size).digest(), "big") or 1
