"""The command `otel-queue report`: the state of queues as metrics, from a process of its own."""

from __future__ import annotations

import logging
import signal
import threading
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.cli.queues.access import reader_of
from otel_queue_plugins.cli.queues.failures import (
    REFUSED,
    UNREACHABLE,
    USAGE,
    WRONG,
    UsageError,
    write_error,
)
from otel_queue_plugins.reporting.choice import QueueChoice
from otel_queue_plugins.reporting.polling import Polling, text_of
from otel_queue_plugins.reporting.reporter import EXPORT_SECONDS, Reporter
from otel_queue_plugins.reporting.starting import Settings, bounded, polling_of

_TIMEOUT_S: Final = 2.0
_NO_EXPORTER: Final = (
    "no exporter of metrics is named: set OTEL_EXPORTER_OTLP_ENDPOINT, or OTEL_METRICS_EXPORTER"
)


def report(parsed: Namespace) -> int:
    """Run the command; the exit code."""
    level = logging.ERROR if parsed.quiet else logging.INFO
    with _logging(logging.CRITICAL if parsed.once else level):
        try:
            return _report(parsed)
        except UsageError as error:
            return _error(str(error), USAGE)


@contextmanager
def _logging(level: int) -> Iterator[None]:
    """Log at that level to stderr. With `--once` what failed is the one line that is printed."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    logger = logging.getLogger("otel_queue_plugins")
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


def _report(parsed: Namespace) -> int:
    from otel_queue_plugins.sdk.providers.service_metrics import service_metrics, with_scraped

    reader, settings = reader_of(parsed, timeout=_TIMEOUT_S), Settings.from_environ()
    if parsed.interval is not None:
        settings = replace(settings, interval=bounded(parsed.interval))
    service = service_metrics() or with_scraped()
    if service is None:
        raise UsageError(_NO_EXPORTER)
    names = _names(parsed, reader)
    globs = () if parsed.queues else settings.globs
    choice = QueueChoice(names, names, globs)
    gauges, polling = polling_of(lambda: reader, choice, settings)
    if not parsed.once:
        return _run(Reporter(polling, gauges, service))
    gauges.register(service.provider)
    polling.poll()
    is_exported = service.export(EXPORT_SECONDS)
    count = sum(1 for _ in gauges.current())
    polling.close()
    if polling.failure is not None:
        return _error(*_failed(polling))
    if not is_exported:
        return _error("the backend did not take the metrics; set OTEL_LOG_LEVEL=debug", WRONG)
    if not parsed.quiet:
        print(f"reported {count} of {len(choice())} queues; others have a reporter")  # noqa: T201
    return 0


def _run(reporter: Reporter) -> int:
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    reporter.start()
    while not stopped.wait(3600):
        pass
    reporter.stop()
    return 0


def _failed(polling: Polling) -> tuple[str, int]:
    error = polling.failure
    if isinstance(error, BrokerError):
        return text_of(error), UNREACHABLE
    return (text_of(error) if error else ""), REFUSED


def _names(parsed: Namespace, reader: QueueReader) -> Callable[[], Iterable[str]]:
    """What returns the queues to report: the named ones, an app's own, or those on the broker."""
    if parsed.queues:
        return lambda: parsed.queues
    return reader.names if parsed.url is None else _Search(reader)


class _Search:
    """The queues that are found on the broker. It is searched until some are found, not again."""

    def __init__(self, reader: QueueReader) -> None:
        self._reader = reader
        self._found: list[str] = []

    def __call__(self) -> Iterable[str]:
        """The names."""
        self._found = self._found or list(self._reader.names(search=True))
        return self._found


def _error(text: str, code: int) -> int:
    write_error(text, "otel-queue report")
    return code
