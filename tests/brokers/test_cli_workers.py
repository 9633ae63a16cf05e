"""`otel-queue workers` on real brokers: workers with and without this package."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.brokers.operators import Operator
from tests.http_client import Client
from tests.services import free_port

if TYPE_CHECKING:
    from tests.brokers.harness import Lab

PLAIN = """
from celery import Celery
from tests.brokers.apps.settings import celery_settings

app = Celery("shop")
app.conf.update(celery_settings())

@app.task(name="ok")
def ok(n=0):
    return n
"""


def until_two(ask: Operator, *arguments: str) -> list[dict[str, Any]]:
    """What the command says when both workers have answered it."""
    deadline = time.monotonic() + 60
    while True:
        found: list[dict[str, Any]] = ask("workers", "--json", *arguments).document["workers"]
        if len(found) == 2 or time.monotonic() > deadline:
            return found


def test_workers_of_celery_with_and_without_this_package(own_lab: Lab) -> None:
    """The one with it says all; of the other the name is known."""
    app = own_lab.module("tests.brokers.apps.http_celery")
    plain = own_lab.app(PLAIN)
    ask = Operator(target=["-A", app.module], env=own_lab.env("cli", app), cwd=own_lab.directory)
    missing = ask("workers")
    assert missing.code == 1
    assert "no worker has answered" in missing.err
    env = {"QUEUE": app.queue, "OTEL_QUEUE_HTTP": str(free_port())}
    own_lab.celery(app, env=env, arguments=["-n", "with@h"])
    own_lab.celery(plain, env=env, arguments=["-n", "without@h"])
    own_lab.producer(app).run("for n in range(3): ok.delay(n)")
    one, other = until_two(ask)
    assert (one["worker"], other["worker"]) == ("with@h", "without@h")
    assert one["capacity"] == 2
    assert one["versions"]["otel_queue_plugins"]
    assert other["versions"] is None
    assert "does not run" in other["unknown"]["versions"]


@pytest.mark.parametrize("own_broker", ["redis"], indirect=True)
def test_worker_of_dramatiq_is_asked_at_its_port(own_lab: Lab) -> None:
    """For all its processes."""
    port = free_port()
    app = own_lab.module("tests.brokers.apps.http_dramatiq")
    own_lab.dramatiq(app, processes=2, threads=2, env={"OTEL_QUEUE_HTTP": str(port)})
    Client(port).until("/readyz", 200)
    ask = Operator(target=[], env=own_lab.env("cli", app), cwd=own_lab.directory)
    (found,) = ask("workers", "--json", "--http", str(port)).document["workers"]
    assert found["framework"] == "dramatiq"
    assert found["capacity"] == 4
