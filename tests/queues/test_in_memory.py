"""Queues of this process: kombu's memory transport, the StubBroker, and what cannot be known."""

from __future__ import annotations

import importlib.util
import threading
import time
from typing import TYPE_CHECKING, Any

import dramatiq
import pytest
from celery import Celery
from celery.contrib.testing import worker as celery_worker
from dramatiq.brokers.stub import StubBroker

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.opening import (
    reader_of_celery,
    reader_of_dramatiq,
    reader_of_url,
)
from otel_queue_plugins.brokers.rows import queue_row
from otel_queue_plugins.brokers.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_queue_plugins.brokers.reader import QueueReader


def row(reader: QueueReader, queue: str = "orders") -> dict[str, Any]:
    """The numbers of one queue."""
    (state,) = reader.states([queue])
    return queue_row(state)


@pytest.fixture
def app() -> Iterator[Celery]:
    """An app in memory; its broker is shared by the process, and emptied."""
    app = Celery("memory", broker="memory://", set_as_current=False)
    app.conf.task_default_queue = "orders"
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        type(channel).queues.clear()
        yield app
        type(channel).queues.clear()


def test_celery_in_memory(app: Celery) -> None:
    """What is ready is exact; a queue that is missing is not made by asking."""
    reader = reader_of_celery(app)
    assert row(reader)["ready"] == 0
    assert reader.names(search=True) == {"orders": "configured"}
    sent = [app.send_task("add", args=(number, 0)).id for number in range(3)]
    app.send_task("other")
    found = row(reader)
    assert (found["ready"], found["unacked"], found["oldest_age_s"]) == (4, None, None)
    assert row(reader, "missing")["ready"] == 0
    assert reader.names(search=True) == {"orders": "configured"}
    assert [message.id for message in reader.peek("orders", limit=3)] == sent
    assert reader.find(sent[1][:12], queues=["orders"]).messages[0].arguments["args"] == "(1, 0)"
    assert reader.purge("orders", "ready", Selection(task="add")).done == 3
    assert reader.plan_purge("orders").matched == 1
    assert reader.purge("orders").done == 1
    for refused in (reader.undo, reader.requeue, reader.plan_requeue):
        with pytest.raises(RefusedError):
            refused("orders")
    with pytest.raises(RefusedError, match="leaves to the workers"):
        reader.peek("orders", "unacked")


def test_celery_in_memory_with_a_worker(app: Celery) -> None:
    """Looking takes nothing away from it."""
    ran = threading.Event()

    @app.task(name="run")
    def run() -> None:
        ran.set()

    reader = reader_of_celery(app)
    run.delay()
    assert reader.peek("orders")[0].task == "run"
    with celery_worker.start_worker(app, perform_ping_check=False, pool="solo"):
        assert ran.wait(60)
    assert row(reader)["ready"] == 0


@pytest.fixture
def broker() -> Iterator[StubBroker]:
    """A broker of the test's own."""
    broker = StubBroker()
    broker.emit_after("process_boot")
    yield broker
    broker.close()


def test_dramatiq_in_memory(broker: StubBroker) -> None:
    """Exact in every state, with a worker; dead letters run again with all their attempts."""
    gate, fails, ran = threading.Event(), [True], []

    @dramatiq.actor(broker=broker, queue_name="orders", max_retries=0)
    def wait() -> None:
        gate.wait(60)
        if fails[0]:
            raise ValueError("no")
        ran.append(1)

    reader = reader_of_dramatiq(broker)
    assert reader.names() == {"orders": "declared"}
    sent = [wait.send().message_id for _ in range(5)]
    wait.send_with_options(delay=100_000)
    found = row(reader)
    assert [found[name] for name in ("ready", "delayed", "unacked", "dead")] == [5, 1, 0, 0]
    assert 0 <= found["oldest_age_s"] < 10
    assert [message.id for message in reader.peek("orders", limit=4)] == sent[:4]
    assert reader.peek("orders")[0].max_attempts == 1
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=1)
    worker.start()
    try:
        _until(lambda: row(reader)["unacked"] == 5 - broker.queues["orders"].qsize() > 0)
        found = row(reader)
        assert (found["ready"] + found["unacked"], found["delayed"], found["dead"]) == (5, 1, 0)
        with pytest.raises(RefusedError, match="hold these"):
            reader.peek("orders", "unacked")
        gate.set()
        _until(lambda: row(reader)["dead"] == 5)
        fails[0] = False
        assert reader.requeue("orders", Selection(id=sent[0])).done == 1
        assert reader.plan_requeue("orders").matched == 4
        assert reader.requeue("orders").done == 4
        _until(lambda: len(ran) == 5)
        assert row(reader)["dead"] == 0
    finally:
        worker.stop()


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_stub_broker_is_purged(broker: StubBroker) -> None:
    """By state, all or those that are chosen."""

    @dramatiq.actor(broker=broker, queue_name="orders")
    def one() -> None:
        pass

    @dramatiq.actor(broker=broker, queue_name="orders")
    def two() -> None:
        pass

    for actor in (one, two, one):
        actor.send()
    two.send_with_options(delay=100_000)
    reader = reader_of_dramatiq(broker)
    assert reader.purge("orders", "ready", Selection(task="one")).done == 2
    assert reader.purge("orders", "delayed").done == 1
    found = row(reader)
    assert (found["ready"], found["delayed"]) == (1, 0)
    assert reader.purge("orders").done == 1
    broker.join("orders", timeout=1000)
    with pytest.raises(RefusedError, match="nothing is kept"):
        reader.undo("orders")
    with pytest.raises(RefusedError, match="hold these"):
        reader.purge("orders", "unacked")


@pytest.mark.parametrize(
    ("url", "system", "reason"),
    [
        ("filesystem://", "filesystem", "may create the queue"),
        ("sentinel://:sesame@host:26379/0", "redis", "'master_name' is not among"),
    ],
)
def test_other_transports_are_unknown_with_the_reason(
    url: str, system: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is asked of them: asking makes queues of some."""
    monkeypatch.chdir(tmp_path)
    reader = reader_of_url(url, "celery", queues=["orders"])
    assert reader.source.system == system
    assert "sesame" not in reader.source.url
    assert reader.names(search=True) == {"orders": "named"}
    (state,) = reader.states(["orders"])
    assert reason in state.unknown["ready"]
    assert row(reader)["ready"] is None
    for refused in (
        lambda: reader.peek("orders"),
        lambda: reader.purge("orders"),
        lambda: reader.purge("orders", "ready", Selection(task="t")),
        lambda: reader.requeue("orders"),
        lambda: reader.undo("orders"),
    ):
        with pytest.raises(RefusedError):
            refused()
    assert reader.find("x", queues=["orders"]).unseen["orders, ready"] == state.unknown["ready"]
    assert not list(tmp_path.iterdir())
    reader.close()


def test_a_transport_whose_client_is_missing_is_unknown() -> None:
    """Its keys are not shown."""
    if importlib.util.find_spec("botocore") is not None:
        pytest.skip("botocore is installed")
    app = Celery("queue", broker="sqs://KEY:sesame@", set_as_current=False)
    assert reader_of_celery(app).source.system == "aws_sqs"
    reader = reader_of_url("sqs://KEY:sesame@", "celery", queues=["orders"])
    (state,) = reader.states(["orders"])
    assert state.system == "aws_sqs"
    assert "is not installed" in state.unknown["ready"]
    assert "sesame" not in str(reader.source)


def test_other_brokers_of_dramatiq_are_unknown() -> None:
    """By the name of their class; one that is derived from a broker of Dramatiq is that one."""

    class SQSBroker(dramatiq.Broker):
        """Somebody's."""

    class OurStub(StubBroker):
        """Ours."""

    reader = reader_of_dramatiq(SQSBroker())
    assert reader.source.system == "sqs"
    (state,) = reader.states(["orders"])
    assert state.ready is None
    assert reader_of_dramatiq(OurStub()).source.system == "stub"
    assert reader_of_url("sqs://", "dramatiq").states(["q"])[0].ready is None


def test_a_framework_that_is_none() -> None:
    """The error has the value and the choices."""
    with pytest.raises(ValueError, match=r"^framework: 'rq' is not one of 'celery', 'dramatiq'$"):
        reader_of_url("redis://", "rq")
