"""`otel-queue top` on real brokers: what is looked at, what is left alone, what is changed."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from otel_queue_plugins.cli.main import make_parser
from otel_queue_plugins.cli.top.table import Table
from otel_queue_plugins.cli.top.workers import Workers
from tests.brokers.harness import Lab
from tests.brokers.queues import redis_dump
from tests.cli.top import views
from tests.cli.top.windows import Window
from tests.receiver import FaultyReceiver
from tests.services import Broker, Managed, free_port, queue_name, redis_database

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.top.views import View
    from tests.processes import Processes

SEND = {
    "celery": "for n in range(3): add.delay(n, 4711)",
    "dramatiq": "for n in range(3): add.send(n, 4711)",
}


def keys(view: View) -> list[str]:
    """What the table of messages shows, by id."""
    return [key.split()[2] for key in view.app.screen.query_one("#messages", Table).keys]


@pytest.mark.parametrize("framework", ["celery", "dramatiq"])
def test_queue_message_trace_and_purge(own_lab: Lab, framework: str) -> None:
    """Nothing is disturbed on RabbitMQ, and what is purged is asked about; no argument is shown."""
    broker = own_lab.broker
    is_rabbit = broker.system == "rabbitmq"
    port = free_port()
    app = own_lab.module(f"tests.brokers.apps.queue_{framework}")
    exported = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
    sender = own_lab.producer(app, env=exported)

    async def act(view: View) -> None:
        if framework == "celery" and is_rabbit:
            await asyncio.to_thread(sender.run, "declare()")
        await asyncio.to_thread(sender.run, SEND[framework])
        await view.press("r")
        row = re.compile(rf"^{re.escape(app.queue)} +[▁█]+ +3 ", re.MULTILINE)
        await view.until(lambda: row.search(view.text), "3 messages")
        await view.press("enter")
        if is_rabbit:
            await view.sees("not looked at:", "--disturb")
            assert keys(view) == []
        else:
            await view.until(lambda: len(keys(view)) == 3)
            before = redis_dump(broker.url)
            await view.press("enter")
            assert "4711" not in await view.sees("send add", "outcome")
            assert redis_dump(broker.url) == before
            await view.press("escape")
        await view.press("P")
        await view.sees(f"Purge 3 ready messages of {app.queue}?")
        await view.press("y")
        await view.sees("purged 3 ready messages")
        await view.press("enter")
        await view.sees("1 ready 0")

    target = ["--url", broker.url, "--framework", framework, "--queue", app.queue]
    views.run_with([*target, "--write", "--interval", "300ms", "--receive", str(port)], act)


@pytest.mark.parametrize("own_broker", ["redis"], indirect=True)
def test_dead_letter_of_a_worker_is_requeued(own_lab: Lab, tmp_path: Path) -> None:
    """Its attempts are in the tree, before and after; the worker is shown by its port."""
    http, port = free_port(), free_port()
    app = own_lab.module("tests.brokers.apps.queue_dramatiq")
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_QUEUE_HTTP": str(http),
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "GATE": str(tmp_path / "gate"),
    }
    own_lab.dramatiq(app, threads=1, env=env)
    sender = own_lab.producer(app, env=env)

    async def act(view: View) -> None:
        await asyncio.to_thread(sender.run, "fail.send()")
        await view.sees(app.queue, "dramatiq 2", "RUNNING")
        await view.press("enter", "4")
        await view.until(lambda: len(keys(view)) == 1, "a dead letter")
        await view.press("enter")
        await view.sees("process fail #3", "ValueError")
        (tmp_path / "gate").touch()
        await view.press("R")
        await view.sees(f"Requeue 1 dead letter of {app.queue}?")
        await view.press("y")
        await view.sees("requeued 1 dead letter")
        await view.press("enter")
        await view.sees("success")
        await view.press("escape")
        await view.sees("4 dead 0")

    target = ["--url", own_lab.broker.url, "--framework", "dramatiq", "--http", str(http)]
    arguments = [*target, "--write", "--interval", "300ms", "--receive", str(port)]
    workers = Workers(make_parser().parse_args(["top", *arguments]), "dramatiq")
    views.run_with(arguments, act, size=(120, 60), workers=workers)


@pytest.mark.parametrize("own_broker", ["redis"], indirect=True)
def test_worker_of_celery_is_shown_in_a_terminal(own_lab: Lab, tmp_path: Path) -> None:
    """With what it runs; Ctrl-C ends the view."""
    app = own_lab.module("tests.brokers.apps.queue_celery")
    env = {"GATE": str(tmp_path / "gate")}
    own_lab.celery(app, concurrency=1, pool="threads", env=env)
    own_lab.producer(app, env=env).run("wait.delay()")
    window = Window("-A", app.module, env=own_lab.env("operator", app), cwd=own_lab.directory)
    try:
        window.wait_for(f"{app.queue}@test".encode())
        window.press(b"\x03")
        assert window.end() == 0
    finally:
        window.process.kill()
        window.process.wait()
        window.close()


def test_disturbing_look_on_rabbitmq(
    managed_rabbitmq: Managed, redis_url: str, processes: Processes, tmp_path: Path
) -> None:
    """It says what it has done, and is not made again by itself."""
    with redis_database(redis_url) as results, FaultyReceiver() as receiver:
        broker = Broker(
            system="rabbitmq", url=managed_rabbitmq.url, results_url=results, queue=queue_name()
        )
        lab = Lab(broker=broker, receiver=receiver, processes=processes, directory=tmp_path)
        app = lab.module("tests.brokers.apps.queue_dramatiq")
        lab.producer(app).run(SEND["dramatiq"])

        async def act(view: View) -> None:
            await view.sees(app.queue)
            await view.press("enter")
            await view.sees("marked these as redelivered")
            assert len(keys(view)) == 3
            await view.press("enter")
            assert "redelivered yes" not in await view.sees("enqueued at")
            await view.press("escape")
            first = view.app.screen._seen
            await view.press("r")
            await view.until(lambda: view.app.screen._seen is not first, "another look")
            await view.press("enter")
            await view.sees("redelivered yes")

        target = ["--url", broker.url, "--framework", "dramatiq", "--queue", app.queue]
        api = ["--management-url", managed_rabbitmq.management_url]
        views.run_with([*target, *api, "--disturb"], act)
        lab.close()
