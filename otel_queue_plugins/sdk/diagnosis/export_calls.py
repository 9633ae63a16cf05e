"""Exports over OTLP that are in progress, with the facts about failed attempts.

An exporter of the SDK returns no more than "failed", and logs a text. Here the facts are kept
during an export, for one log line with the cause and the remedy.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from otel_queue_plugins.sdk.config.targets import Target

P = ParamSpec("P")
T = TypeVar("T")

_SUCCESS = "SUCCESS"


class Answer(NamedTuple):
    """The answer of an HTTP server. `body` is only its beginning."""

    status: int
    reason: str = ""
    location: str = ""
    body: str = ""


class ExportCall:
    """An export in progress, with the facts about its last attempt.

    `code` and `details` are those of gRPC; `text` is what the SDK has logged.
    """

    def __init__(self, target: Target, batch: object) -> None:
        self.target = target
        self.batch = batch
        self.started = time.monotonic()
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self.code = self.details = self.text = ""

    def items(self) -> int:
        """The number of spans or log records; metrics count as one."""
        batch: Any = self.batch
        return len(batch) if self.target.signal != "metrics" else 1

    def answered(self, answer: Answer) -> None:
        """Keep the answer of the last attempt."""
        self.answer, self.error = answer, None

    def failed(self, error: BaseException) -> None:
        """Keep the exception that the last attempt has raised."""
        self.answer, self.error = None, error


_current: ContextVar[ExportCall | None] = ContextVar("otel_queue_export_call", default=None)
_in_progress: set[ExportCall] = set()


def current() -> ExportCall | None:
    """The export that the running code belongs to."""
    return _current.get()


def in_progress() -> list[ExportCall]:
    """The exports in progress in all threads of this process."""
    return list(_in_progress)


def forget() -> None:
    """In a forked child: none of the parent's exports is in progress here."""
    _in_progress.clear()


def watched(
    export: Callable[[Sized], T], target: Target, on_failure: Callable[[ExportCall], None]
) -> Callable[..., T]:
    """Wrap an exporter's `export` to `target`; `on_failure` is called after it has failed."""

    def watched_export(batch: Sized, *args: Any, **kwargs: Any) -> T:
        call = ExportCall(target, batch)
        _in_progress.add(call)
        token = _current.set(call)
        try:
            result = export(batch, *args, **kwargs)
        finally:
            _current.reset(token)
            _in_progress.discard(call)
        if getattr(result, "name", _SUCCESS) != _SUCCESS:
            on_failure(call)
        return result

    return watched_export
