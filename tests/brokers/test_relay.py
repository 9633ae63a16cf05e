"""One exporter for all processes of a prefork worker: what arrives, whatever becomes of a child.

On Redis alone: what happens between the processes of a worker does not depend on the broker.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.brokers.telemetry_cases import APART, CONSUMED, LATER, RESTING
from tests.receiver import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from otel_queue_plugins.cli.received import ReceivedPoint
    from tests.brokers.harness import Lab
    from tests.processes import ManagedProcess

APP = "tests.brokers.apps.relay_celery"
DURATION = "messaging.process.duration"
IN_FLIGHT = "taskqueue.worker.in_flight"
INSTANCE = "service.instance.id"
ON = {"OTEL_QUEUE_RELAY": "on"}
LOGS = {"OTEL_LOGS_EXPORTER": "otlp", **ON}
SOON = {**ON, "OTEL_METRIC_EXPORT_INTERVAL": "200", "OTEL_BSP_SCHEDULE_DELAY": "200"}
MANY = int(os.environ.get("OTEL_QUEUE_TESTS_MANY", "200"))

pytestmark = pytest.mark.parametrize("own_broker", ["redis"], indirect=True)


def term(worker: ManagedProcess) -> None:
    """A warm shutdown."""
    assert worker.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize("arguments", [[], ["--max-tasks-per-child=1"]], ids=["lasting", "one"])
def test_what_tasks_record_is_that_of_one_process(arguments: list[str], own_lab: Lab) -> None:
    """Spans, log records, sums and histograms of all children; one resource, few requests.

    With timers that are not due: what arrives was sent by the worker's end.
    """
    app = own_lab.module(APP)
    producer = own_lab.producer(app)
    worker = own_lab.celery(app, arguments=arguments, env={**LATER, **LOGS})
    sent = producer.run("for n in range(6): sell.delay()")
    worker.wait_for_log("succeeded", count=6)
    producer.run(RESTING)
    term(worker)
    receiver = own_lab.receiver
    spans = receiver.expect_trace(sent.trace_id, 18)
    processed = [span for span in spans if span.kind == "consumer"]
    packed = [span for span in spans if span.name == "pack"]
    assert {span.parent_id for span in packed} == {span.span_id for span in processed}
    assert len({span.resource[INSTANCE] for span in processed + packed}) == 1
    pids = {span.attributes["process.pid"] for span in processed}
    assert len(pids) == 6 if arguments else len(pids) <= 2
    receiver.expect_total(CONSUMED, 6, taskqueue__task__outcome="success")
    receiver.expect_total(DURATION, 6)
    receiver.expect_total("shop.sold", 12, item="book")
    receiver.expect_total("shop.stock", -12)
    (point,) = receiver.latest_points("shop.price")
    assert point.histogram is not None
    assert (point.histogram.bounds, point.histogram.bucket_counts) == ((1, 10, 100), (0, 0, 6, 0))
    said = [each for each in receiver.logs() if each.body == "sold a book"]
    assert {each.span_id for each in said} == {span.span_id for span in processed}
    from_worker = [each for each in receiver.requests() if each.path == "/v1/traces"]
    assert len(from_worker) <= 2 + 3  # the producer's


def test_measurements_carry_exemplars(own_lab: Lab) -> None:
    """Those of the span they were made in, in another process."""
    app = own_lab.module(APP)
    producer = own_lab.producer(app)
    own_lab.celery(app, env=SOON)
    sent = producer.run("sell.delay()")
    *_, process, pack = sorted(
        own_lab.receiver.expect_trace(sent.trace_id, 3), key=lambda span: span.start_ns
    )

    def exemplars(name: str) -> set[str]:
        points = points_of(own_lab, name)
        return {each.span_id for point in points for each in point.exemplars}

    own_lab.receiver.until(
        lambda: exemplars("shop.sold") == {pack.span_id}, f"{exemplars('shop.sold')}"
    )
    own_lab.receiver.until(lambda: exemplars(DURATION) == {process.span_id}, "of the duration")


def points_of(lab: Lab, name: str) -> list[ReceivedPoint]:
    """All points of that name, of every export."""
    return [point for point in lab.receiver.points() if point.name == name]


def test_a_child_has_one_thread(own_lab: Lab) -> None:
    """Until a task starts some."""
    app = own_lab.module(APP)
    producer = own_lab.producer(app)
    worker = own_lab.celery(app, env=LOGS)
    producer.run("sell.delay(); count_threads.delay()")
    worker.wait_for_log("1 threads, 1 of Python")


def test_processes_share_the_memory_of_what_was_loaded_before_they_were_forked(
    own_lab: Lab,
) -> None:
    """Celery collects garbage before each fork, and that writes into what is not frozen."""
    app = own_lab.module(APP)
    producer = own_lab.producer(app)
    worker = own_lab.celery(app, env=ON)
    producer.run("count_frozen.delay()")
    worker.wait_for_log(r"[1-9]\d{4,} frozen")


def test_many_children_are_one_set_of_series(own_lab: Lab) -> None:
    """Each task in a process of its own: no more series, resources and connections than of one."""
    app = own_lab.module(APP)
    producer = own_lab.producer(app)
    arguments = ["--max-tasks-per-child=1", "--prefetch-multiplier=4"]
    worker = own_lab.celery(app, concurrency=16, arguments=arguments, env=SOON)
    sent = producer.run(f"for n in range({MANY}): nap.delay(0)", timeout=60)
    worker.wait_for_log("succeeded", count=MANY, timeout=30 + MANY / 2)
    spans = own_lab.receiver.expect_trace(sent.trace_id, 2 * MANY, timeout=30)
    processed = [span for span in spans if span.kind == "consumer"]
    assert len({span.parent_id for span in processed}) == MANY
    assert len({span.attributes["process.pid"] for span in processed}) == MANY
    assert len({span.resource[INSTANCE] for span in processed}) == 1
    own_lab.receiver.expect_total(CONSUMED, MANY, timeout=30, taskqueue__task__outcome="success")
    (point,) = own_lab.receiver.latest_points(CONSUMED)
    assert point.value == MANY
    (point,) = own_lab.receiver.latest_points(DURATION)


def test_an_instance_id_of_the_user_is_that_of_the_worker(own_lab: Lab) -> None:
    """As given, for spans and points of all processes."""
    app = own_lab.module(APP)
    producer = own_lab.producer(app)
    given = {"OTEL_RESOURCE_ATTRIBUTES": f"{INSTANCE}=mine"}
    own_lab.celery(app, env={**SOON, **given}, arguments=["--max-tasks-per-child=1"])
    sent = producer.run("for n in range(3): nap.delay(0)")
    spans = own_lab.receiver.expect_trace(sent.trace_id, 6)
    assert {each.resource[INSTANCE] for each in spans if each.kind == "consumer"} == {"mine"}
    own_lab.receiver.expect_total(CONSUMED, 3)
    assert len(own_lab.receiver.latest_points(CONSUMED)) == 1


def test_delta_temporality(own_lab: Lab) -> None:
    """The sum of what is sent is what was counted, over children that come and go."""
    app = own_lab.module(APP)
    producer = own_lab.producer(app)
    delta = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}
    arguments = ["--max-tasks-per-child=2"]
    worker = own_lab.celery(app, env={**SOON, **delta}, arguments=arguments)
    for number in range(3):
        producer.run("for n in range(4): sell.delay()")
        worker.wait_for_log("succeeded", count=4 * (number + 1))
    producer.run(RESTING)
    term(worker)
    for name, expected in ((CONSUMED, 12), ("shop.sold", 24)):
        points = points_of(own_lab, name)
        assert sum(point.value or 0 for point in points) == expected
        assert {point.temporality for point in points} == {"delta"}


def test_many_additions_in_one_task_are_counted(own_lab: Lab) -> None:
    """Added up in the child, true to the last one."""
    app = own_lab.module(APP)
    producer = own_lab.producer(app)
    own_lab.celery(app, env=SOON)
    producer.run("count_many.delay(20_000)")
    own_lab.receiver.expect_total("shop.sold", 20_000, item="pen")


def test_in_flight_is_true_whatever_becomes_of_the_children(own_lab: Lab, tmp_path: Path) -> None:
    """One series a route; nothing of a killed process stays."""
    app = own_lab.module(APP)
    producer = own_lab.producer(app)
    worker = own_lab.celery(app, env=SOON)
    there = tmp_path / "there"
    producer.run(f"for n in range(2): wait_for.delay({str(there)!r})")
    worker.wait_for_log("waits", count=2)
    expect_in_flight(own_lab, 2)
    os.kill(worker.children()[0], signal.SIGKILL)
    expect_in_flight(own_lab, 1)
    there.touch()
    expect_in_flight(own_lab, 0)
    own_lab.receiver.expect_total(CONSUMED, 1, taskqueue__task__outcome="success")
    own_lab.receiver.expect_total(CONSUMED, 1, taskqueue__task__outcome="lost")


def expect_in_flight(lab: Lab, value: int) -> None:
    """One series, with that value."""

    def values() -> list[float | None]:
        return [point.value for point in lab.receiver.latest_points(IN_FLIGHT)]

    lab.receiver.until(lambda: values() == [value], f"{value} in flight, not {values()}")


def test_processors_of_the_user_see_the_spans_of_their_process(own_lab: Lab) -> None:
    """And the spans arrive all the same."""
    app = own_lab.module(APP)
    producer = own_lab.producer(app)
    worker = own_lab.celery(app, env={**SOON, "PROCESSOR": "1"})
    sent = producer.run("sell.delay()")
    worker.wait_for_log("ended pack")
    worker.wait_for_log("ended process sell")
    own_lab.receiver.expect_trace(sent.trace_id, 3)


def test_an_outage_costs_children_nothing(own_lab: Lab) -> None:
    """They need no network: their end does not wait, and their telemetry is kept for later."""
    app = own_lab.module(APP)
    producer = own_lab.producer(app)
    arguments = ["--max-tasks-per-child=1"]
    worker = own_lab.celery(app, arguments=arguments, env=SOON)
    own_lab.receiver.fault = Fault.REFUSE
    sent = producer.run("for n in range(20): nap.delay(0)")
    worker.wait_for_log("succeeded", count=20)
    producer.run(RESTING)
    own_lab.receiver.fault = Fault.OK
    term(worker)
    own_lab.receiver.expect_total(CONSUMED, 20, taskqueue__task__outcome="success")
    dropped = sum(
        point.value or 0
        for point in own_lab.receiver.latest_points("taskqueue.telemetry.dropped")
        if point.service == "worker"
    )
    assert len(of_worker(own_lab, sent.trace_id)) + dropped == 20


def of_worker(lab: Lab, trace_id: str) -> list[object]:
    """The process spans of a trace."""
    return [each for each in lab.receiver.trace(trace_id) if each.kind == "consumer"]


def test_a_worker_that_ends_in_an_outage_is_bounded_as_a_whole(own_lab: Lab) -> None:
    """By the flush time-out, however many children it has."""
    app = own_lab.module(APP)
    producer = own_lab.producer(app)
    worker = own_lab.celery(
        app,
        concurrency=8,
        env={**LATER, **ON, "OTEL_QUEUE_FLUSH_TIMEOUT": "4", "OTEL_EXPORTER_OTLP_TIMEOUT": "60"},
    )
    producer.run("for n in range(16): nap.delay(0)")
    worker.wait_for_log("succeeded", count=16)
    producer.run(RESTING)
    own_lab.receiver.fault = Fault.HANG
    began = time.monotonic()
    term(worker)
    plain = 20.0  # what Celery takes on a loaded machine; eight times the bound are 32 s
    assert time.monotonic() - began < 4 + plain


def test_a_process_without_the_pipe_exports_by_itself(own_lab: Lab) -> None:
    """An embedded beat closes all descriptors of its process."""
    app = own_lab.app(BEAT)
    own_lab.celery(app, arguments=["-B", "-s", str(own_lab.directory / "beat")], env=SOON)

    def instances(kind: str) -> set[str]:
        found = [span for span in own_lab.receiver.spans() if span.kind == kind]
        return {str(span.resource[INSTANCE]) for span in found[1:]}

    own_lab.receiver.until(lambda: len(instances("producer")) == 1, "scheduled tasks are sent")
    own_lab.receiver.until(lambda: len(instances("consumer")) == 1, "and processed")
    assert instances("producer") != instances("consumer")
    own_lab.receiver.until(
        lambda: own_lab.receiver.total("messaging.client.sent.messages") >= 2, "counted, too"
    )
    (point,) = own_lab.receiver.latest_points("messaging.client.sent.messages")
    assert {point.resource[INSTANCE]} == instances("producer")


BEAT = """
from celery import Celery
from otel_queue_plugins.celery import instrument
from tests.brokers.apps.settings import celery_settings

app = Celery("beat")
app.conf.update(celery_settings())
app.conf.beat_schedule = {"now": {"task": "ok", "schedule": 0.5}}
instrument(app)

@app.task(name="ok")
def ok():
    pass
"""


@pytest.mark.parametrize(
    ("env", "pool"), [(APART, "prefork"), ({}, "threads")], ids=["off", "threads"]
)
def test_where_it_does_not_apply_all_is_as_it_was(
    env: dict[str, str], pool: str, own_lab: Lab
) -> None:
    """Switched off, or a pool that is one process."""
    app = own_lab.module(APP)
    producer = own_lab.producer(app)
    own_lab.celery(app, pool=pool, env={**SOON, **env})
    sent = producer.run("for n in range(4): sell.delay()")
    spans = own_lab.receiver.expect_trace(sent.trace_id, 12)
    processed = [span for span in spans if span.kind == "consumer"]
    pids = {span.attributes["process.pid"] for span in processed}
    assert len({span.resource[INSTANCE] for span in processed}) == len(pids)
    own_lab.receiver.expect_total(CONSUMED, 4)
