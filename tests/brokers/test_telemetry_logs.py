"""Log records of a task name their task and trace, in the log and over OTLP.

On Redis alone: logging does not depend on the broker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.brokers.telemetry_cases import CELERY, DRAMATIQ, RESTING

if TYPE_CHECKING:
    from otel_queue_plugins.cli.received import ReceivedLog
    from tests.brokers.harness import Lab
    from tests.brokers.harness_producer import Producer
    from tests.processes import ManagedProcess

LOGGED = {
    "FORMATS": "yes",
    "OTEL_QUEUE_LOG_CORRELATION": "true",
    "OTEL_LOGS_EXPORTER": "otlp",
}

pytestmark = pytest.mark.parametrize("own_broker", ["redis"], indirect=True)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_celery_log_records_name_task_and_trace(pool: str, own_lab: Lab) -> None:
    """Also after Celery has configured the root logger; records outside of a task have no trace."""
    app = own_lab.module(CELERY)
    producer = own_lab.producer(app)
    worker = own_lab.celery(app, pool=pool, env=LOGGED, ready="ready")
    assert " ready. trace= span= task= name=" in worker.log
    expect_records(own_lab, worker, producer, "result = speak.delay().id")
    own_lab.receiver.until(
        lambda: any(str(each.body).endswith(" ready.") for each in own_lab.receiver.logs()),
        "record of the worker's main process",
    )


def test_dramatiq_log_records_name_task_and_trace(own_lab: Lab) -> None:
    """Through a handler of the user, and through the actor's own logger."""
    app = own_lab.module(DRAMATIQ)
    producer = own_lab.producer(app)
    worker = own_lab.dramatiq(app, env=LOGGED)
    expect_records(own_lab, worker, producer, "result = speak.send().message_id")


def test_log_records_without_log_exporter_are_not_exported(own_lab: Lab) -> None:
    """A general endpoint is for traces and metrics only; the records themselves are unchanged."""
    app = own_lab.module(CELERY)
    producer = own_lab.producer(app)
    worker = own_lab.celery(app)
    sent = producer.run("speak.delay()")
    worker.wait_for_log("task words")
    own_lab.receiver.expect_trace(sent.trace_id, 2)
    producer.run(RESTING)
    assert worker.stop() == 0
    assert own_lab.receiver.requests("/v1/logs") == []


def expect_records(lab: Lab, worker: ManagedProcess, producer: Producer, code: str) -> None:
    """Wait for both records of one task, as the worker wrote them and as they arrived."""
    sent = producer.run(code)

    def records() -> list[ReceivedLog]:
        return [each for each in lab.receiver.logs() if each.trace_id == sent.trace_id]

    _, process = lab.receiver.expect_trace(sent.trace_id, 2)
    place = f"trace={sent.trace_id} span={process.span_id} task={sent.result} name=speak"
    lab.receiver.until(lambda: len(records()) >= 2, "two log records")
    for words in ("plain words", "task words"):
        worker.wait_for_log(f"^{words} {place}$")

    found = {each.body: each for each in records() if str(each.body).endswith("words")}
    assert set(found) == {"plain words", "task words"}
    for record in found.values():
        assert record.span_id == process.span_id
        assert record.attributes["messaging.message.id"] == sent.result
        assert record.attributes["taskqueue.task.name"] == "speak"
        assert record.resource["service.instance.id"] == process.resource["service.instance.id"]
