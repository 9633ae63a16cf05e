"""The same telemetry from every pool: one worker of each, its deliveries, and its end."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.brokers.telemetry_cases import RESTING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_queue_plugins.cli.received import ReceivedSpan
    from tests.brokers.harness import Lab
    from tests.brokers.harness_producer import Producer, Sent
    from tests.processes import ManagedProcess

APP = "tests.brokers.apps.celery_outcomes"
OUTCOME = "taskqueue.task.outcome"
CONSUMED = "messaging.client.consumed.messages"
NEVER_BY_ITSELF = {"OTEL_BSP_SCHEDULE_DELAY": "60000", "OTEL_METRIC_EXPORT_INTERVAL": "60000"}

POOLS = {
    "fork": ("prefork", {}),
    "spawn": ("prefork", {"CELERY_WORKER_POOL_START_METHOD": "spawn"}),
    "threads": ("threads", {}),
    "solo": ("solo", {}),
    "gevent": ("gevent", {}),
    "eventlet": ("eventlet", {}),
}
PROCESSES = ("fork", "spawn")
SENT = {
    "success": "ok.delay()",
    "failure": "fail.delay()",
    "retry": "again.delay(1)",
    "short": "hold.apply_async([0.3], task_id='00000000-0000-0000-0000-00000000twin')",
    "long": "hold.apply_async([0.9], task_id='00000000-0000-0000-0000-00000000twin')",
}
ENDS = r"succeeded in|raised unexpected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A pool, what it was sent, and the return code of its worker, which has ended."""

    pool: str
    sent: Mapping[str, Sent]
    returncode: int
    worker: ManagedProcess


@pytest.fixture(scope="module", params=POOLS)
def recorded(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Recorded]:
    """One worker whose exporters export at a flush only."""
    pool, env = POOLS[request.param]
    app = lab.module(APP)
    producer = lab.producer(app)
    env = {**NEVER_BY_ITSELF, "OTEL_QUEUE_EVENTS": "all", **env}
    worker = lab.celery(app, pool=pool, arguments=["-Q", app.queue], env=env)
    sent = {name: producer.run(code) for name, code in SENT.items()}
    worker.wait_for_log(ENDS, count=len(SENT))
    sent["watched"] = producer.run("look.delay()", carrier={"baggage": "user=7"})
    worker.wait_for_log(ENDS, count=len(SENT) + 1)
    sent["unwatched"] = producer.run("look.delay()")
    worker.wait_for_log(ENDS, count=len(SENT) + 2)
    sent |= _cut_short(request.param, producer, worker)
    if request.param in PROCESSES:
        producer.run(RESTING)
    yield Recorded(
        pool=request.param, sent=sent, returncode=_stopped(worker, producer), worker=worker
    )
    lab.close()


def _stopped(worker: ManagedProcess, producer: Producer) -> int:
    """Stop the worker; return its code. One that blocks on RabbitMQ wakes up every ten seconds."""
    worker.send_signal(signal.SIGTERM)
    worker.wait_for_log("Warm shutdown")
    producer.run("app.control.broadcast('ping')")
    returncode = worker.wait()
    worker.wait_for_log_end()
    return returncode


def _cut_short(pool: str, producer: Producer, worker: ManagedProcess) -> dict[str, Sent]:
    """Send a task that the pool ends early, where the pool can do that."""
    sent = {}
    if pool in (*PROCESSES, "threads", "gevent", "eventlet"):
        sent["exit"] = producer.run("result = leave.delay().id")
        worker.wait_for_log(f"leaving {sent['exit'].result}")
    if pool in (*PROCESSES, "gevent"):
        sent["timeout"] = producer.run("result = hard.delay().id")
        worker.wait_for_log("Hard time limit")
    if pool in (*PROCESSES, "gevent", "eventlet"):
        sent["terminated"] = terminated = producer.run("result = hold.delay(20).id")
        worker.wait_for_log(f"at work {terminated.result}")
        producer.run(f"app.control.revoke({terminated.result!r}, terminate=True)")
        worker.wait_for_log("Terminating ")
    return sent


def test_worker_ends_normally(recorded: Recorded) -> None:
    """Telemetry does not change the return code of a worker."""
    assert recorded.returncode == 0


def test_each_outcome_is_recorded_as_child_of_send(recorded: Recorded, lab: Lab) -> None:
    """Success, failure and retry, in every pool."""
    for name, outcomes in (
        ("success", ["success"]),
        ("failure", ["failure"]),
        ("retry", ["retry", "success"]),
    ):
        send, *processed = _trace(lab, recorded.sent[name], 1 + len(outcomes))
        assert [span.attributes[OUTCOME] for span in processed] == outcomes
        assert {span.parent_id for span in processed} == {send.span_id}
        received = processed[0].events[0]
        assert received.name == "taskqueue.received"
        held = (processed[0].start_ns - received.time_ns) / 1e9
        assert processed[0].attributes["taskqueue.task.prefetch_wait"] == pytest.approx(
            held, abs=0.01
        )
        assert processed[0].service == "worker"


def test_overlapping_deliveries_of_one_id_are_kept_apart(recorded: Recorded, lab: Lab) -> None:
    """Each has its own times, trace and children."""
    for name, seconds in (("short", 0.3), ("long", 0.9)):
        send, process, work = _trace(lab, recorded.sent[name], 3)
        assert process.attributes[OUTCOME] == "success"
        assert seconds <= process.duration_s < seconds + 0.55
        assert (process.parent_id, work.parent_id) == (send.span_id, process.span_id)


def test_delivery_leaves_no_context_for_next_one(recorded: Recorded, lab: Lab) -> None:
    """Baggage and spans belong to one message."""
    for name, seen in (("watched", ("user",)), ("unwatched", ())):
        _, process, looked = _trace(lab, recorded.sent[name], 3)
        assert tuple(process.attributes.get("seen.baggage") or ()) == seen
        assert looked.parent_id == process.span_id


@pytest.mark.parametrize(
    ("name", "outcome", "status"),
    [
        ("exit", "lost", "error"),
        ("timeout", "timeout", "error"),
        ("terminated", "revoked", "unset"),
    ],
)
def test_task_ended_by_pool_is_recorded_once(
    name: str, outcome: str, status: str, recorded: Recorded, lab: Lab
) -> None:
    """However a pool ends a task, and whichever process is left to record it."""
    if name not in recorded.sent:
        return
    spans = [span for span in _trace(lab, recorded.sent[name], None) if span.kind == "consumer"]
    assert [span.attributes[OUTCOME] for span in spans] == [outcome]
    assert spans[0].status == status


def test_counts_agree_with_spans(recorded: Recorded, lab: Lab) -> None:
    """Each delivery is counted once, with its outcome, over all processes of the worker."""
    queue = _trace(lab, recorded.sent["success"], 2)[0].attributes["messaging.destination.name"]
    where = {"messaging__destination__name": queue}
    assert lab.receiver.total(CONSUMED, taskqueue__task__outcome="failure", **where) == 1
    assert lab.receiver.total(CONSUMED, taskqueue__task__outcome="retry", **where) == 1
    assert lab.receiver.total(CONSUMED, taskqueue__task__outcome="success", **where) == 6
    for name, outcome in (("exit", "lost"), ("timeout", "timeout"), ("terminated", "revoked")):
        expected = 1 if name in recorded.sent else 0
        assert lab.receiver.total(CONSUMED, taskqueue__task__outcome=outcome, **where) == expected


def _trace(lab: Lab, sent: Sent, count: int | None) -> list[ReceivedSpan]:
    """Return what arrived while the worker ran. The send span is first, by its start."""
    lab.receiver.until(
        lambda: any(span.kind == "producer" for span in lab.receiver.trace(sent.trace_id)), "send"
    )
    spans = lab.receiver.trace(sent.trace_id)
    assert count is None or len(spans) == count, [(span.name, span.service) for span in spans]
    return spans
