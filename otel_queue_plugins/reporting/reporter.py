"""A reporter in threads of its own: one looks at the broker, the other exports what it saw."""

from __future__ import annotations

import logging
import os
import threading
from typing import Final

from otel_queue_plugins.core.api import suppression
from otel_queue_plugins.reporting.gauges import QueueGauges
from otel_queue_plugins.reporting.polling import Polling
from otel_queue_plugins.sdk.providers.service_metrics import ServiceMetrics

EXPORT_SECONDS: Final = 10.0
STOP_SECONDS: Final = 1.0

_log = logging.getLogger("otel_queue_plugins")


class Reporter:
    """Reports until it is stopped. A process that is forked from this one does not report."""

    def __init__(self, polling: Polling, gauges: QueueGauges, service: ServiceMetrics) -> None:
        self._polling = polling
        self._gauges = gauges
        self._service = service
        self._pid = os.getpid()
        self._stopping = threading.Event()
        self._seen = threading.Event()
        self._threads: list[threading.Thread] = []
        gauges.register(service.provider)

    def start(self) -> None:
        """Start the threads. They do not keep the process from ending."""
        for act in (self._poll, self._export):
            thread = threading.Thread(target=act, name="otel-queue-state", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Stop reporting, and wait for `timeout` seconds at most until the leases are given back.

        A broker that hangs gives them to another reporter later, by itself.
        """
        if self._pid != os.getpid():  # the threads are the parent's, and may hold the locks
            return
        self._stopping.set()
        self._seen.set()
        self._threads[0].join(timeout)

    def _poll(self) -> None:
        suppression.suppress_in_empty_context()  # for as long as the thread lives
        wait = 0.0
        while not self._stopping.wait(wait):
            wait = self._polling.poll()
            self._seen.set()
        self._polling.close()

    def _export(self) -> None:
        suppression.suppress_in_empty_context()
        while not self._stopping.is_set():
            self._seen.wait()
            self._seen.clear()
            if not self._stopping.is_set() and self._gauges.has_values():
                try:
                    self._service.export(EXPORT_SECONDS)
                except Exception:  # noqa: BLE001 - the exporter has logged what it was
                    _log.debug("the state of queues could not be exported", exc_info=True)
