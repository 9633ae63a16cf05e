"""During an outage: unchanged speed, bounded memory, one warning a minute, exact counts."""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.metrics import CallbackOptions
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_queue_plugins.sdk.diagnosis.export_failures import ExportFailureFilter
from otel_queue_plugins.sdk.export.dropped import Dropped
from otel_queue_plugins.sdk.shared_memory import Moment, Tally
from tests.receiver import Fault
from tests.sdk.conftest import record_spans, run_child

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import FakeClock
    from tests.sdk.conftest import Programs, Receiver

pytestmark = pytest.mark.slow

SMALL = {"OTEL_BSP_MAX_QUEUE_SIZE": "50", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10"}
REASON = "taskqueue.telemetry.drop_reason"


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.HANG, Fault.UNAVAILABLE])
def test_spans_of_an_outage_arrive_or_are_counted_as_dropped(
    programs: Programs, receiver: Receiver, fault: Fault
) -> None:
    """After an outage export continues by itself, and the number of lost spans is exported."""
    program = programs.start_sending(
        receiver, "spans_on_request", fault=fault, OTEL_EXPORTER_OTLP_TIMEOUT="1", **SMALL
    )
    record_spans(program, 200)
    receiver.fault = Fault.OK
    record_spans(program, 1)

    def accounted() -> float:
        return len(receiver.spans()) + receiver.total("taskqueue.telemetry.dropped")

    receiver.wait_for(lambda: accounted() == 201, 15)
    dropped = receiver.latest_points("taskqueue.telemetry.dropped")
    assert accounted() == 201, (len(receiver.spans()), dropped, receiver.requests()[-9:])
    assert {point.attributes[REASON] for point in dropped} <= {
        "queue_full",
        "export_failed",
    }
    assert (
        receiver.total(
            "taskqueue.telemetry.dropped", taskqueue__telemetry__drop_reason="queue_full"
        )
        >= 100
    )


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.HANG, Fault.UNAVAILABLE])
def test_unsent_spans_of_ended_children_are_counted_by_their_parent(
    programs: Programs, receiver: Receiver, fault: Fault
) -> None:
    """They have ended when the backend answers again; each span arrives or is counted."""
    parent = programs.start_sending(
        receiver, "one_task_children", fault=fault, OTEL_QUEUE_FLUSH_TIMEOUT="1"
    )
    for _ in range(5):
        run_child(parent, "lost")
    receiver.fault = Fault.OK
    run_child(parent, "back")
    run_child(parent, "healthy")

    def arrived() -> list[str]:
        return [span.name for span in receiver.spans()]

    def accounted() -> float:
        return len(arrived()) + receiver.total(
            "taskqueue.telemetry.dropped", taskqueue__telemetry__drop_reason="process_ended"
        )

    receiver.until(lambda: accounted() == 7, "account of 7 spans")
    parent.stdin.close()
    assert parent.wait() == 0
    assert accounted() == 7
    assert "lost" not in arrived()


def test_spans_not_sent_in_time_are_counted_as_dropped(
    programs: Programs, receiver: Receiver
) -> None:
    """A batch is given up after `OTEL_EXPORTER_OTLP_TIMEOUT`, and counted."""
    program = programs.start_sending(
        receiver, "spans_on_request", fault=Fault.UNAVAILABLE, OTEL_EXPORTER_OTLP_TIMEOUT="0.5"
    )
    record_spans(program, 10)
    receiver.until(lambda: bool(receiver.requests("/v1/traces")), "attempt")
    record_spans(program, 10)
    receiver.until(lambda: len(receiver.requests("/v1/traces")) > 1, "second attempt")
    receiver.fault = Fault.OK
    record_spans(program, 1)
    receiver.expect_span("work")
    receiver.expect_total(
        "taskqueue.telemetry.dropped", 20, taskqueue__telemetry__drop_reason="export_failed"
    )


def test_outage_is_logged_once_a_minute(programs: Programs, receiver: Receiver) -> None:
    """Dozens of failed attempts and hundreds of dropped spans give one line."""
    program = programs.start_sending(
        receiver,
        "spans_on_request",
        fault=Fault.UNAVAILABLE,
        OTEL_EXPORTER_OTLP_TIMEOUT="1",
        OTEL_METRIC_EXPORT_INTERVAL="100",
        **SMALL,
    )
    record_spans(program, 100, 100)
    receiver.until(lambda: len(receiver.requests()) >= 8, "8 attempts")
    lines = [line for line in program.log.splitlines() if not line.startswith("recorded")]
    assert len(lines) == 1
    assert "said once in 60 s" in lines[0]


def test_outage_keeps_memory_bounded(programs: Programs, http_receiver: Receiver) -> None:
    """Default queue: 2,048 spans wait and 512 are being exported, however long it lasts."""
    program = programs.start_sending(http_receiver, "spans_on_request", fault=Fault.HANG)
    record_spans(program, 5_000, 40_000)
    found = re.findall(r"recorded ([\d.]+) us each, (\d+) kB", program.log)
    (_, before), (_, after) = found
    assert int(after) - int(before) < 3_000


def test_failure_filter_passes_one_record_per_interval_over_all_loggers(
    fake_clock: FakeClock,
) -> None:
    """Traces, metrics and logs fail together, and have one line together."""
    once = ExportFailureFilter(
        lambda: 7, interval=60, clock=lambda: fake_clock() / 1e9, warned=Moment()
    )

    def passes(level: int = logging.WARNING) -> bool:
        record = logging.LogRecord("any", level, __file__, 1, "failed %d", (503,), None)
        passed = once.filter(record)
        if passed and level >= logging.WARNING:
            assert record.getMessage().startswith("failed 503 (")
            assert "dropped so far: 7" in record.getMessage()
        return bool(passed)

    assert [passes(), passes(), passes(logging.ERROR)] == [True, False, False]
    assert passes(logging.DEBUG)
    fake_clock.advance(59)
    assert not passes()
    fake_clock.advance(1)
    assert [passes(), passes()] == [True, False]


def test_ending_child_leaves_the_number_of_its_unsent_spans() -> None:
    """Queued, under way, or counted where nobody heard of it; never twice, never less than before.

    What gets out in the last moment is taken back, and the parent's count waits for it.
    """
    lost = Tally()
    reader = InMemoryMetricReader()
    parent = Dropped(lost)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    parent.publish(provider.get_meter("tests"))
    assert in_a_child(lambda: leave(Dropped(lost), waiting=3, counted=4))
    assert dropped_by_reason(reader) == {"process_ended": 7}
    assert parent.total() == 7
    assert in_a_child(lambda: leave_and_send_after_all(Dropped(lost)))
    assert dropped_by_reason(reader) == {"process_ended": 7}
    assert in_a_child(lambda: leave(Dropped(lost), waiting=1, counted=0))
    assert dropped_by_reason(reader) == {"process_ended": 8}
    provider.shutdown()


def in_a_child(act: Callable[[], object]) -> bool:
    """Whether `act` returns without an error in a forked child."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1] == 0
    try:
        act()
        os._exit(0)
    finally:
        os._exit(1)


def leave(dropped: Dropped, *, waiting: int, counted: int) -> None:
    """End as a process whose flush has failed; a second call has no effect."""
    dropped.watch(lambda: waiting)
    if counted:
        dropped.add("queue_full", counted)
    dropped.leave()
    dropped.leave()


def leave_and_send_after_all(dropped: Dropped) -> None:
    """End with five unsent and two counted spans, all of which arrive later."""
    waiting = [5]
    dropped.watch(lambda: waiting[0])
    dropped.add("export_failed", 2)
    dropped.leave()
    list(dropped.observe(CallbackOptions()))
    dropped.mark_reported()
    waiting[0] = 0
    dropped.amend()


def dropped_by_reason(reader: InMemoryMetricReader) -> dict[str, float]:
    """The numbers of a collection, by reason."""
    data = reader.get_metrics_data()
    assert data is not None
    metric: Any = data.resource_metrics[0].scope_metrics[0].metrics[0]
    return {str(point.attributes[REASON]): point.value for point in metric.data.data_points}


def test_process_without_children_leaves_nothing() -> None:
    """It reports its dropped spans itself."""
    lost = Tally()
    leave(Dropped(lost), waiting=3, counted=4)
    assert lost.total() == 0


def test_forked_processes_share_the_limit_of_warnings(fake_clock: FakeClock) -> None:
    """One line a minute for all of them together."""
    warned = Moment()
    record = logging.LogRecord("any", logging.WARNING, __file__, 1, "failed", (), None)

    def warns() -> bool:
        once = ExportFailureFilter(lambda: 0, clock=lambda: fake_clock() / 1e9, warned=warned)
        return once.filter(record)

    assert in_a_child(warns)
    assert not warns()
    fake_clock.advance(60)
    assert warns()


def test_dropped_spans_are_exported_as_a_metric() -> None:
    """`taskqueue.telemetry.dropped`, {span}, by reason; no points before the first drop."""
    dropped, reader = Dropped(), InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    dropped.publish(provider.get_meter("tests"))
    assert reader.get_metrics_data() is None
    dropped.add("queue_full", 2)
    dropped.add("export_failed", 512)
    dropped.add("queue_full", 1)
    data = reader.get_metrics_data()
    assert data is not None
    metric: Any = data.resource_metrics[0].scope_metrics[0].metrics[0]
    assert (metric.name, metric.unit) == ("taskqueue.telemetry.dropped", "{span}")
    assert dropped_by_reason(reader) == {"queue_full": 3, "export_failed": 512}
    assert dropped.total() == 515
    provider.shutdown()
