"""`otel-queue requeue` and `purge` on real brokers, with workers that run what comes back."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import signal
from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests import pages
from tests.brokers.harness import App, Lab
from tests.brokers.operators import COMMAND, START_S, Operator
from tests.brokers.queues import rabbitmq_dump, redis_dump, until
from tests.receiver import Fault, FaultyReceiver
from tests.services import Broker, Managed, queue_name, redis_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_queue_plugins.cli.received import ReceivedSpan
    from tests.processes import Processes

APPS = {
    "celery": """
        from tests.brokers.apps.queue_celery import *

        if app.conf.task_queues:  # each queue has its own dead letters
            app.conf.task_queues = app.conf.task_queues[::2]
    """,
    "dramatiq": "from tests.brokers.apps.queue_dramatiq import *",
}
FAILING = {"celery": "refuse.delay()", "dramatiq": "fail.send()"}
ATTEMPTS = {"celery": 1, "dramatiq": 3}
PLACES = ["celery-redis", "celery-rabbitmq", "dramatiq-redis", "dramatiq-rabbitmq"]
WITH_DEAD_LETTERS = [place for place in PLACES if place != "celery-redis"]


class Shop:
    """An app of one framework on one broker, its worker and its operator."""

    def __init__(self, framework: str, lab: Lab, managed: Managed | None) -> None:
        self.framework, self.lab, self.managed = framework, lab, managed
        self.app: App = lab.app(APPS[framework])
        self.queue = self.app.queue
        self.sender = lab.producer(self.app)
        if framework == "celery" and managed:
            self.sender.run("declare()")
        option = "-A" if framework == "celery" else "-B"
        target = [option, self.app.module]
        if managed:
            target += ["--management-url", managed.management_url]
        env = lab.env("operator", self.app, {"OTEL_QUEUE_TRACE_URL": "jaeger:http://jaeger"})
        self.operator = Operator(target=target, env=env, cwd=lab.directory)

    def work(self) -> None:
        """Start a worker that takes one message after the other."""
        if self.framework == "celery":
            self.lab.celery(self.app, concurrency=1, pool="solo", arguments=["-Q", self.queue])
        else:
            self.lab.dramatiq(self.app, threads=1)

    def row(self) -> dict[str, Any]:
        """The numbers of its queue."""
        (row,) = self.operator.json("queues", "--queue", self.queue)["queues"]
        found: dict[str, Any] = row
        return found

    def settled(self, **expected: int) -> dict[str, Any]:
        """The same, when it is as expected."""

        def is_settled() -> dict[str, Any] | None:
            row = self.row()
            return row if expected.items() <= row.items() else None

        found: dict[str, Any] = until(is_settled, lambda: f"{expected} of {self.row()}", 40)
        return found

    def dump(self) -> Any:
        """All that is on the broker."""
        if self.managed:
            return rabbitmq_dump(self.managed.management_url)
        return redis_dump(self.lab.broker.url, without="__heartbeats__")


@pytest.fixture
def shop(
    request: pytest.FixtureRequest, redis_url: str, processes: Processes, tmp_path: Path
) -> Iterator[Shop]:
    """By the framework and the broker in the parameter."""
    framework, _, system = request.param.partition("-")
    managed = request.getfixturevalue("managed_rabbitmq") if system == "rabbitmq" else None
    with redis_database(redis_url) as results, FaultyReceiver() as receiver:
        broker = Broker(
            system=system,
            url=managed.url if managed else results,
            results_url=results,
            queue=queue_name(),
        )
        lab = Lab(
            broker=broker,
            receiver=receiver,
            processes=processes,
            directory=tmp_path,
            environment={"GATE": str(tmp_path / "gate")},
        )
        yield Shop(framework, lab, managed)
        lab.close()


@pytest.mark.parametrize("shop", WITH_DEAD_LETTERS, indirect=True)
def test_requeued_dead_letters_run_all_attempts_again_in_their_trace(shop: Shop) -> None:
    """Linked to the audit span; they have waited since then, not since they were sent first."""
    shop.work()
    sent = shop.sender.run(f"result = [{FAILING[shop.framework]} for _ in range(3)] and None")
    assert shop.settled(dead=3, ready=0)["dead"] == 3
    done = shop.operator.json("requeue", shop.queue, "--yes")
    assert (done["queue"], done["state"], done["matched"], done["done"]) == (
        *(shop.queue, "dead"),
        *(3, 3),
    )
    audit = shop.lab.receiver.expect_span(f"requeue {shop.queue}")
    assert audit.trace_id == done["trace_id"]
    assert audit.attributes["taskqueue.admin.changed"] == 3
    runs = 3 * ATTEMPTS[shop.framework]
    spans = shop.lab.receiver.expect_trace(sent.trace_id, 3 + 2 * runs, timeout=40)
    sends = {span.span_id for span in spans if span.name.startswith("send ")}
    assert {link.span_id for link in audit.links} == sends
    again = [span for span in spans if span.name.startswith("process ")][-runs:]
    attempts = sorted(span.attributes["taskqueue.task.attempt"] for span in again)
    assert attempts == sorted([*range(1, ATTEMPTS[shop.framework] + 1)] * 3)
    first = [span for span in again if audit.span_id in {link.span_id for link in span.links}]
    assert len(first) == 3
    for span in first:
        assert span.attributes["taskqueue.task.attempt"] == 1
        assert span.attributes["taskqueue.task.wait"] <= since(audit, span)
    shop.settled(dead=3, ready=0)
    (shop.lab.directory / "gate").touch()
    assert shop.operator.json("requeue", shop.queue, "--yes", "--rate", "10/s")["done"] == 3
    shop.settled(dead=0, ready=0)


def since(audit: ReceivedSpan, span: ReceivedSpan) -> float:
    """Seconds from the begin of a change to a delivery; clocks are read to a millisecond."""
    return (span.start_ns - audit.start_ns) / 1e9 + 0.01


@pytest.mark.parametrize("shop", ["celery-redis", "dramatiq-redis"], indirect=True)
def test_purge_takes_messages_away_and_undo_brings_them_back(shop: Shop) -> None:
    """All of them run afterwards, once each, in the trace they were sent in."""
    send = "add.delay(1, 2)" if shop.framework == "celery" else "add.send(1, 2)"
    sent = shop.sender.run(f"result = [{send} for _ in range(5)] and None")
    assert shop.settled(ready=5)["ready"] == 5
    done = shop.operator.json("purge", shop.queue, "--yes")
    assert (done["matched"], done["done"]) == (5, 5)
    assert shop.row()["ready"] == 0
    undone = shop.operator.json("purge", shop.queue, "--yes", "--undo")
    assert undone["done"] == 5
    assert shop.row()["ready"] == 5
    shop.work()
    spans = shop.lab.receiver.expect_trace(sent.trace_id, 10)
    assert sorted({span.name for span in spans}) == ["process add", "send add"]
    audit = shop.lab.receiver.expect_span(
        f"purge {shop.queue}", taskqueue__admin__operation="purge"
    )
    assert {link.trace_id for link in audit.links} == {sent.trace_id}


@pytest.mark.parametrize("shop", ["celery-rabbitmq", "dramatiq-rabbitmq"], indirect=True)
def test_purge_on_rabbitmq_has_no_undo(shop: Shop) -> None:
    """It says how many there were; the undo is refused."""
    send = "add.delay(1, 2)" if shop.framework == "celery" else "add.send(1, 2)"
    shop.sender.run(f"result = [{send} for _ in range(5)] and None")
    shop.settled(ready=5)
    assert shop.operator.json("purge", shop.queue, "--yes")["done"] == 5
    assert shop.row()["ready"] == 0
    undone = shop.operator("purge", shop.queue, "--yes", "--undo")
    assert (undone.code, undone.out) == (4, "")
    assert "keeps nothing" in undone.err


@pytest.mark.parametrize("shop", PLACES, indirect=True)
def test_what_is_refused_changes_nothing(shop: Shop) -> None:
    """Exit code 4 and one line with the reason."""
    send = "add.delay(1, 2)" if shop.framework == "celery" else "add.send(1, 2)"
    identity = shop.sender.run(f"result = [{send} for _ in range(5)][0]").result
    shop.settled(ready=5)
    refused = [["purge", shop.queue], ["purge", shop.queue, "--yes", "--state", "unacked"]]
    refused += [["purge", shop.queue, "--yes", "--undo"]]
    if shop.managed:
        refused += [["peek", shop.queue], ["show", "x"]]
        refused += [["purge", shop.queue, "--yes", "--task", "add"]]
    elif shop.framework == "celery":
        refused += [["requeue", shop.queue, "--yes"], ["peek", shop.queue, "--state", "dead"]]
    before = shop.dump()
    for command in refused:
        done = shop.operator(*command)
        assert (done.code, done.out) == (4, ""), (command, done.err)
        assert len(done.err.splitlines()) == 1, done.err
    assert shop.dump() == before
    assert identity is not None
    missing = shop.operator("queues", "--json", "--queue", f"{shop.queue}-missing")
    assert missing.code == (1 if shop.managed else 0)  # an empty list of Redis does not exist
    assert (missing.document["queues"][0]["ready"] is None) == bool(shop.managed)


@pytest.mark.parametrize("shop", PLACES, indirect=True)
def test_messages_are_found_with_their_trace(shop: Shop) -> None:
    """Where a look disturbs, it is asked for; all messages are there afterwards."""
    send = "add.delay(1, 2).id" if shop.framework == "celery" else "add.send(1, 2).message_id"
    sent = shop.sender.run(f"result = [{send} for _ in range(5)]")
    shop.settled(ready=5)
    disturb = ["--disturb"] if shop.managed else []
    rows = shop.operator.json("peek", shop.queue, "-n", "3", *disturb)["messages"]
    assert [row["id"] for row in rows] == sent.result[:3]
    assert {row["trace_id"] for row in rows} == {sent.trace_id}
    assert rows[0]["trace_url"] == f"http://jaeger/trace/{sent.trace_id}"
    wanted = sent.result[2]
    queue = ["--queue", shop.queue]
    (row,) = shop.operator.json("show", wanted[:10], *queue, *disturb)["messages"]
    assert (row["id"], row["task"], row["state"]) == (wanted, "add", "ready")
    assert shop.operator("show", "no-such-id", *queue, *disturb).code == 1
    assert shop.settled(ready=5)["ready"] == 5
    spans = shop.lab.receiver.expect_trace(sent.trace_id, 5)
    assert {span.name for span in spans} == {"send add"}


@pytest.mark.parametrize("shop", ["dramatiq-redis"], indirect=True)
def test_backend_that_is_away_delays_the_end_and_no_more(shop: Shop) -> None:
    """The change is made; who made it is said not to have arrived."""
    shop.sender.run("for _ in range(3): add.send(1, 2)")
    shop.settled(ready=3)
    shop.lab.receiver.fault = Fault.HANG
    endless = {**shop.operator.env, "OTEL_EXPORTER_OTLP_TIMEOUT": "90"}
    done = dataclasses.replace(shop.operator, env=endless)("purge", shop.queue, "--yes")
    assert (done.code, done.out) == (0, f"purged 3 ready messages of {shop.queue}\n")
    assert "not sent to the backend in time" in done.err
    assert done.took < 5 + START_S


@pytest.mark.parametrize("shop", ["dramatiq-redis"], indirect=True)
def test_terminated_requeue_is_recorded_with_what_it_did(shop: Shop) -> None:
    """SIGTERM ends it between two messages; the others stay dead letters."""
    client = redis.Redis.from_url(shop.lab.broker.url)
    for number in range(50):
        body = {"message_id": f"m{number}", "actor_name": "add", "args": [1, 2], "kwargs": {}}
        client.zadd(f"dramatiq:{shop.queue}.XQ", {f"r{number}": 1000.0 + number})
        raw = json.dumps({**body, "options": {}})
        client.hset(f"dramatiq:{shop.queue}.XQ.msgs", f"r{number}", raw)
    command = [*COMMAND, "requeue", shop.queue, "--yes", "--rate", "20/s", *shop.operator.target]
    program = shop.lab.processes.start(
        "otel-queue", command, env=shop.operator.env, cwd=shop.operator.cwd
    )
    ready = f"dramatiq:{shop.queue}"
    until(lambda: client.llen(ready) >= 3, lambda: program.log)
    assert program.stop() == 128 + signal.SIGTERM
    moved = client.llen(ready)
    assert moved + client.zcard(f"dramatiq:{shop.queue}.XQ") == 50
    client.close()
    audit = shop.lab.receiver.expect_span(f"requeue {shop.queue}")
    assert audit.status == "error"
    assert audit.attributes["taskqueue.admin.changed"] == moved
    assert audit.attributes["error.type"] == "SystemExit"


@pytest.mark.parametrize("shop", ["dramatiq-redis"], indirect=True)
def test_commands_of_the_how_to_page_work_in_their_order(shop: Shop) -> None:
    """Each ends well on the queue that the page tells of."""
    client = redis.Redis.from_url(shop.lab.broker.url)
    for state, identity in (("", "a1"), (".XQ", "e420-1")):
        body = {"message_id": identity, "actor_name": "shop.charge", "args": [], "kwargs": {}}
        raw = json.dumps({**body, "options": {}})
        client.hset(f"dramatiq:orders{state}.msgs", identity, raw)
        if state:
            client.zadd(f"dramatiq:orders{state}", {identity: 1000.0})
        else:
            client.rpush("dramatiq:orders", identity)
    client.close()
    console = "\n".join(pages.blocks("how-to/operate-queues", "console"))
    lines = re.findall(r"^otel-queue (.*)$", console, re.MULTILINE)
    assert len(lines) >= 8
    for line in lines:
        arguments = shlex.split(line)
        arguments[arguments.index("-B") + 1] = shop.app.module
        if arguments[0] in {"requeue", "purge"} and "--dry-run" not in arguments:
            arguments.append("--yes")
        if "--older-than" in arguments:
            arguments[arguments.index("--task") + 1] = "shop.*"
            arguments[arguments.index("--older-than") + 1] = "0s"
        done = dataclasses.replace(shop.operator, target=[])(*arguments)
        assert done.code == 0, (line, done.err)
