"""The view over brokers that are in this process, found by the name of an app."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from otel_queue_plugins.cli.main import make_parser
from otel_queue_plugins.cli.top.workers import Workers
from tests.cli.top import views
from tests.cli.top.test_messages_screen import keys

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.top.views import View

CELERY = """
from celery import Celery
print("printed by the app")
app = Celery("shop", broker="memory://", set_as_current=False)
app.conf.task_default_queue = "top-orders"

@app.task(name="charge")
def charge(n):
    return n
"""
DRAMATIQ = """
import dramatiq
from dramatiq.brokers.stub import StubBroker
broker = StubBroker()

@dramatiq.actor(queue_name="orders", actor_name="charge", broker=broker, max_retries=0)
def charge(n):
    raise ValueError(n)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Writes a module into the directory that the command runs in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def write(name: str, source: str) -> str:
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


def test_app_of_celery_in_memory(module: Callable[[str, str], str]) -> None:
    """What the transport leaves to the workers is not known, and why is said."""
    name = module("top_app_of_celery", CELERY)
    # In this process there are the queues of other tests, too.
    arguments = ["-A", name, "--queue", "top-orders", "--interval", "200ms", "--write"]

    async def act(view: View) -> None:
        app: Any = sys.modules[name]
        for number in range(2):
            app.charge.delay(number)
        await view.sees("top-orders", "the memory transport keeps no dead letters")
        await view.sees("no worker has answered")
        await view.press("r", "enter")
        await view.until(lambda: len(keys(view)) == 2)
        await view.press("3")
        await view.sees("not looked at")
        await view.press("1", "P")
        await view.sees("Purge 2 ready messages of top-orders?")
        await view.press("y")
        await view.sees("purged 2 ready messages")
        await view.press("enter")
        await view.sees("no ready message")

    workers = Workers(make_parser().parse_args(["top", *arguments]), "celery")
    views.run_with(arguments, act, workers=workers)


def test_stub_broker_of_dramatiq(module: Callable[[str, str], str]) -> None:
    """Dead letters go back to work."""
    name = module("top_app_of_dramatiq", DRAMATIQ)

    async def act(view: View) -> None:
        import dramatiq

        app: Any = sys.modules[name]
        worker = dramatiq.Worker(app.broker, worker_timeout=10, worker_threads=1)
        for number in range(2):
            app.charge.send(number)
        await view.sees("orders")
        worker.start()
        await view.press("enter", "4")
        await view.until(lambda: len(keys(view)) == 2, "two dead letters")
        worker.stop()
        await view.press("R")
        await view.sees("Requeue 2 dead letters of orders?")
        await view.press("y")
        await view.sees("requeued 2 dead letters of orders")
        await view.press("enter", "1")
        await view.until(lambda: len(keys(view)) == 2, "two ready messages")

    views.run_with(["-B", f"{name}:broker", "--interval", "200ms", "--write"], act)
