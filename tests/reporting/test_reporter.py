"""A reporter in its threads: exports after each look, stops in time, and not in a child."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import MeterProvider

from otel_queue_plugins.reporting.gauges import QueueGauges
from otel_queue_plugins.reporting.polling import Polling
from otel_queue_plugins.reporting.reporter import Reporter
from otel_queue_plugins.sdk.providers.service_metrics import ServiceMetrics
from tests.brokers.queues import until
from tests.reporting.conftest import Broker, Clock

if TYPE_CHECKING:
    from collections.abc import Callable


def reporter(
    export: Callable[[float], bool], broker: Any, interval: float = 0.05
) -> tuple[Reporter, QueueGauges]:
    """A reporter of one queue."""
    gauges = QueueGauges(60)
    polling = Polling(lambda: broker, lambda: ["a"], gauges, interval=interval, leases=False)
    provider = MeterProvider(shutdown_on_exit=False)
    return Reporter(polling, gauges, ServiceMetrics(provider, export)), gauges


def test_each_look_is_exported_by_another_thread() -> None:
    """A backend that hangs must not keep a lease from being renewed."""
    exports: list[str] = []
    hang = threading.Event()
    broker = Broker(Clock())

    def export(_seconds: float) -> bool:
        exports.append(threading.current_thread().name)
        if len(exports) > 2:
            hang.wait(90)
        return True

    found, _ = reporter(export, broker)
    found.start()
    until(lambda: len(exports) == 3, lambda: "exports")
    looks = len(broker.asked)
    until(lambda: len(broker.asked) > looks + 2, lambda: "looks while the backend hangs")
    found.stop()
    hang.set()
    assert broker.closed == 1


def test_stop_waits_a_second_at_most_for_a_broker_that_hangs() -> None:
    """The lease ends by itself."""
    hang = threading.Event()
    broker = Broker(Clock())

    def states(_queues: object) -> list[Any]:
        hang.wait(90)
        return []

    broker.states = states
    found, gauges = reporter(lambda _seconds: True, broker)
    found.start()
    ended = threading.Event()
    threading.Thread(target=lambda: (found.stop(0.2), ended.set()), daemon=True).start()
    assert ended.wait(30)
    assert not gauges.has_values()
    hang.set()


def test_forked_child_does_not_report_and_can_stop() -> None:
    """The threads are the parent's; a lock that one of them held is not waited for."""
    found, _ = reporter(lambda _seconds: True, Broker(Clock()))
    found.start()
    pid = os.fork()
    if pid == 0:
        alone = threading.active_count() == 1
        found._stopping._cond.acquire(blocking=False)
        found.stop()
        os._exit(0 if alone else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    found.stop()
