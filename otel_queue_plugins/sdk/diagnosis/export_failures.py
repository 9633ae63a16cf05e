"""Replace the SDK's log records about failed exports: one line a minute, with cause and remedy."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from otel_queue_plugins.core.settings.problems import without_secrets
from otel_queue_plugins.sdk import greenlets
from otel_queue_plugins.sdk.diagnosis import causes, export_calls
from otel_queue_plugins.sdk.diagnosis.remedies import RETRIED
from otel_queue_plugins.sdk.shared_memory import REFUSED, WARNED, Moment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_queue_plugins.sdk.diagnosis.export_calls import ExportCall

F = TypeVar("F", bound="ExportFailureFilter")

INTERVAL: Final = 60.0
_SECONDS_UNTIL_HANGING: Final = 0.2
_ITEMS: Final = {"traces": "span", "logs": "log record", "metrics": "metric export"}
_LOGGERS: Final = (
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.metrics._internal.export",
)


class LostItems:
    """How many items this process has lost, by signal. `spans` gives the number of spans."""

    def __init__(self, spans: Callable[[], int]) -> None:
        self._spans = spans
        self._pid = os.getpid()
        self._counts: dict[str, int] = {}

    def add(self, signal: str, items: int) -> None:
        """Add `items` to the number of `signal`. A forked child counts from zero."""
        if self._pid != os.getpid():
            self._pid, self._counts = os.getpid(), {}
        self._counts[signal] = self._counts.get(signal, 0) + items

    def words(self, signal: str = "traces", items: int = 0) -> str:
        """The numbers, such as `3 spans, 1 log record`, plus `items` that are not added yet."""
        counts = {"traces": self._spans()}
        if self._pid == os.getpid():
            counts |= {each: number for each, number in self._counts.items() if each != "traces"}
        counts[signal] = counts.get(signal, 0) + items
        parts = (f"{n} {_ITEMS[each]}{'s' * (n != 1)}" for each, n in counts.items())
        return ", ".join(parts)


class ExportFailureFilter(logging.Filter):
    """Lets one warning pass per interval, over all loggers it is added to.

    A record of an export in progress is replaced by a line of ours. Failures that may pass share
    the limit; those that need a change of the settings have a limit for each signal.

    Args:
        dropped: Gives the number of spans this process has lost, which each line tells.
        interval: Seconds.
        clock: The same in all processes that share `warned` and `refused`.
        warned: When the last failure that may pass was logged.
        refused: By signal, when the last failure of the other kind was logged.
    """

    def __init__(
        self,
        dropped: Callable[[], int],
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
        warned: Moment = WARNED,
        refused: Mapping[str, Moment] = REFUSED,
    ) -> None:
        super().__init__()
        self._lost = LostItems(dropped)
        self._interval = interval
        self._clock = clock
        self._warned = warned
        self._refused = refused

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether `record` passes: it is no warning, or the first one in its interval."""
        if record.levelno < logging.WARNING:
            return True
        call = export_calls.current()
        if call is not None:
            self._keep_facts(call, record)
            return False
        if _is_dropped_log_record(record):
            self._lost.add("logs", 1)
        if not self._is_due(self._warned):
            return False
        text = without_secrets(record.getMessage())
        if record.exc_info and record.exc_info[1] is not None:
            text += f" ({without_secrets(repr(record.exc_info[1]))})"
        record.msg = f"{text} ({self._end(RETRIED, self._lost.words())})"
        record.args = ()
        record.exc_info = None
        return True

    def _keep_facts(self, call: ExportCall, record: logging.LogRecord) -> None:
        call.text = record.getMessage()
        code = next((each for each in _arguments(record) if _is_status_code(each)), None)
        if code is not None:
            texts = [each for each in _arguments(record) if isinstance(each, str)]
            call.code, call.details = code.name, texts[-1] if texts else ""
        if record.levelno == logging.WARNING and "ransient" in str(record.msg):
            self._log_failure(call)

    def on_failure(self, call: ExportCall) -> None:
        """Log and count an export that has failed for good."""
        self._log_failure(call, has_failed=True)
        self._lost.add(call.target.signal, call.items())

    def after_flush(self) -> None:
        """Log an export that is still in progress after a flush: it has got no answer."""
        for call in export_calls.in_progress():
            if time.monotonic() - call.started > _SECONDS_UNTIL_HANGING:
                self._log_failure(call)
                return

    def _log_failure(self, call: ExportCall, *, has_failed: bool = False) -> None:
        target = call.target
        is_due = self._is_due(self._warned, take=False)
        if not is_due and not self._is_due(self._refused[target.signal], take=False):
            return
        cause = causes.cause_of(call)
        may_pass = cause.effect == RETRIED
        if not self._is_due(self._warned if may_pass else self._refused[target.signal]):
            return
        is_lost = has_failed or not may_pass
        lost = self._lost.words(target.signal, call.items() if is_lost else 0)
        greenlets.log(
            logging.WARNING if may_pass else logging.ERROR,
            "%s to %s: %s (%s)",
            target.signal,
            without_secrets(target.endpoint),
            cause.words,
            self._end(cause.effect, lost),
        )

    def _end(self, effect: str, lost: str) -> str:
        return f"{effect}; dropped so far: {lost}; said once in {self._interval:g} s"

    def _is_due(self, last: Moment, *, take: bool = True) -> bool:
        now = self._clock()
        if last.at and now - last.at < self._interval:
            return False
        if take:
            last.at = now
        return True


def _arguments(record: logging.LogRecord) -> tuple[Any, ...]:
    return record.args if isinstance(record.args, tuple) else ()


def _is_status_code(each: object) -> bool:
    return type(each).__name__ == "StatusCode" and hasattr(each, "name")


def _is_dropped_log_record(record: logging.LogRecord) -> bool:
    return "Queue full" in str(record.msg) and _arguments(record) == ("Log",)


_installed: list[ExportFailureFilter] = []


def install_filter(dropped: Callable[[], int]) -> ExportFailureFilter:
    """Add the filter to the loggers of the SDK's exporters and processors, and return it."""
    return install(ExportFailureFilter(dropped))


def install(made: F) -> F:
    """Add a filter of this kind in the same way. The one that was added last is in charge."""
    _installed[:] = [made]
    for name in _LOGGERS:
        # Before the SDK's own filter, which drops what looks like the record before it.
        logging.getLogger(name).filters.insert(0, made)
    return made


def on_failure(call: ExportCall) -> None:
    """Log and count an export that has failed for good."""
    for each in _installed:
        each.on_failure(call)
