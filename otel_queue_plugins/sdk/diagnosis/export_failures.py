"""What the SDK says about exports that fail: one line a minute, with the cause and what to do."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.core.settings.problems import without_secrets
from otel_queue_plugins.sdk.diagnosis import causes
from otel_queue_plugins.sdk.diagnosis.remedies import RETRIED
from otel_queue_plugins.sdk.export import export_calls
from otel_queue_plugins.sdk.process.shared_memory import REFUSED, WARNED, Moment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_queue_plugins.sdk.export.export_calls import Shipment

INTERVAL: Final = 60.0
_HANGS_AFTER: Final = 0.2
_ITEMS: Final = {"traces": "span", "logs": "log record", "metrics": "metric export"}
_TALKATIVE: Final = (
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.metrics._internal.export",
)

_log = logging.getLogger("otel_queue_plugins")


class Lost:
    """How much this process has lost so far, by signal. Spans are counted elsewhere."""

    def __init__(self, spans: Callable[[], int]) -> None:
        self._spans = spans
        self._pid = os.getpid()
        self._counts: dict[str, int] = {}

    def add(self, signal: str, items: int) -> None:
        """Count `items` more."""
        if self._pid != os.getpid():
            self._pid, self._counts = os.getpid(), {}
        self._counts[signal] = self._counts.get(signal, 0) + items

    def words(self, signal: str = "traces", items: int = 0) -> str:
        """The sums, such as `3 spans, 1 log record`, with `items` that are about to be added."""
        counts = {"traces": self._spans()}
        if self._pid == os.getpid():
            counts |= {each: number for each, number in self._counts.items() if each != "traces"}
        counts[signal] = counts.get(signal, 0) + items
        parts = (f"{n} {_ITEMS[each]}{'s' * (n != 1)}" for each, n in counts.items())
        return ", ".join(parts)


class OncePerInterval(logging.Filter):
    """Lets one record through per `interval` seconds, over all loggers it is added to.

    And over all processes that share `warned`. Records about an export that is under way are
    replaced by a line of ours: an outage has the same limit, a refusal one of its own for each
    signal. `dropped` tells how many spans this process has lost so far; each line says so.
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
        self._lost = Lost(dropped)
        self._interval = interval
        self._clock = clock
        self._warned = warned
        self._refused = refused

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether `record` is no warning, or the first of its interval."""
        if record.levelno < logging.WARNING:
            return True
        shipment = export_calls.current()
        if shipment is not None:
            self._note(shipment, record)
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

    def _note(self, shipment: Shipment, record: logging.LogRecord) -> None:
        shipment.text = record.getMessage()
        code = next((each for each in _arguments(record) if _is_status_code(each)), None)
        if code is not None:
            texts = [each for each in _arguments(record) if isinstance(each, str)]
            shipment.code, shipment.details = code.name, texts[-1] if texts else ""
        if record.levelno == logging.WARNING and "ransient" in str(record.msg):
            self._say(shipment)

    def given_up(self, shipment: Shipment) -> None:
        """An export has failed for good."""
        self._say(shipment, is_given_up=True)
        self._lost.add(shipment.target.signal, shipment.items())

    def look(self) -> None:
        """Said after a flush: an export that is still under way then has got no answer."""
        for shipment in export_calls.all_under_way():
            if time.monotonic() - shipment.started > _HANGS_AFTER:
                self._say(shipment)
                return

    def _say(self, shipment: Shipment, *, is_given_up: bool = False) -> None:
        target = shipment.target
        is_due = self._is_due(self._warned, take=False)
        if not is_due and not self._is_due(self._refused[target.signal], take=False):
            return
        cause = causes.of(shipment)
        may_pass = cause.meaning == RETRIED
        if not self._is_due(self._warned if may_pass else self._refused[target.signal]):
            return
        is_lost = is_given_up or not may_pass
        lost = self._lost.words(target.signal, shipment.items() if is_lost else 0)
        _log.log(
            logging.WARNING if may_pass else logging.ERROR,
            "%s to %s: %s (%s)",
            target.signal,
            without_secrets(target.endpoint),
            cause.words,
            self._end(cause.meaning, lost),
        )

    def _end(self, meaning: str, lost: str) -> str:
        return f"{meaning}; dropped so far: {lost}; said once in {self._interval:g} s"

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


_in_use: list[OncePerInterval] = []


def hush(dropped: Callable[[], int]) -> OncePerInterval:
    """Apply the limit to the loggers of the SDK's exporters and processors."""
    once = OncePerInterval(dropped)
    _in_use[:] = [once]
    for name in _TALKATIVE:
        # Before the SDK's own filter, which drops what looks like the record before it.
        logging.getLogger(name).filters.insert(0, once)
    return once


def given_up(shipment: Shipment) -> None:
    """An export has failed for good."""
    for once in _in_use:
        once.given_up(shipment)
