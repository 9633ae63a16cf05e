"""The process span is current in all code of an actor, and in no other code."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from dramatiq.middleware import AsyncIO
from opentelemetry import trace

from otel_queue_plugins.sdk.logs.correlation import task_in_progress
from tests.dramatiq.conftest import outcome
from tests.processes import clean_environment

if TYPE_CHECKING:
    from tests.dramatiq.conftest import Shop


def current_span_id() -> int:
    """Return the id of the current span."""
    return trace.get_current_span().get_span_context().span_id


def test_async_actor_has_process_span_current_in_coroutines_tasks_and_threads(
    shop: Shop,
) -> None:
    """It is current before and after an await, in a task, and in a thread made by asyncio."""
    shop.broker.add_middleware(AsyncIO())
    shop.instrument()
    seen: list[int] = []

    async def part() -> None:
        seen.append(current_span_id())

    async def run() -> None:
        seen.append(current_span_id())
        await asyncio.sleep(0.01)
        seen.append(current_span_id())
        await asyncio.create_task(part())
        seen.append(await asyncio.to_thread(current_span_id))

    shop.actor(run, actor_name="add").send()
    shop.work()
    assert seen == [shop.span("process add").context.span_id] * 4


def test_asyncio_task_after_actor_ended_sends_children_and_keeps_no_send_span(shop: Shop) -> None:
    """What it sends is a child of the ended span; no send span stays current in it."""
    shop.broker.add_middleware(AsyncIO())
    shop.instrument()
    later = shop.actor(lambda: None, actor_name="later")
    over, ended = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []
    seen: list[int] = []
    tasks: list[object] = []

    async def background() -> None:
        await ended.wait()
        for _ in range(2):
            later.send()
            seen.append(current_span_id())
        over.set()

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        tasks.append(asyncio.create_task(background()))

    shop.actor(run, actor_name="add").send()
    from dramatiq import Worker

    worker = Worker(shop.broker, worker_timeout=10, worker_threads=1)
    worker.start()
    shop.broker.join("default")
    worker.join()
    loops[0].call_soon_threadsafe(ended.set)
    assert over.wait(60)
    shop.broker.join("default")
    worker.join()
    worker.stop()
    process = shop.span("process add")
    assert seen == [process.context.span_id] * 2
    assert {send.parent and send.parent.span_id for send in shop.spans("send later")} == {
        process.context.span_id
    }


def test_threads_of_worker_have_their_own_current_span(shop: Shop) -> None:
    """A hundred messages over eight threads each have their own span."""
    shop.instrument()
    seen: dict[int, int] = {}

    def run(number: int) -> None:
        first = current_span_id()
        threading.Event().wait(0.001)
        seen[number] = current_span_id() if current_span_id() == first else 0

    add = shop.actor(run, actor_name="add")
    for number in range(100):
        add.send(number)
    shop.work(threads=8)
    assert set(seen.values()) == {span.context.span_id for span in shop.spans("process add")}
    assert len(set(seen.values())) == 100


def test_thread_pool_with_copied_context_has_process_span_current(shop: Shop) -> None:
    """An application may copy the context into a pool of its own."""
    shop.instrument()
    seen: list[int] = []

    def run() -> None:
        with ThreadPoolExecutor(1) as pool:
            seen.append(pool.submit(contextvars.copy_context().run, current_span_id).result())

    shop.actor(run, actor_name="add").send()
    shop.work()
    assert seen == [shop.span("process add").context.span_id]


def test_log_correlation_names_task_in_actor_only(shop: Shop) -> None:
    """The name of the task is set while the actor runs, and not afterwards."""
    shop.instrument()
    seen: list[Any] = []
    add = shop.actor(lambda: seen.append(task_in_progress()), actor_name="add")
    message = add.send()
    shop.work()
    assert seen == [(message.message_id, "add")]


def test_actor_called_as_function_makes_no_span(shop: Shop) -> None:
    """Calling an actor is a function call, and no delivery."""
    shop.instrument()
    add = shop.actor(lambda: None, actor_name="add")
    add()
    assert shop.spans() == []


def test_greenlets_have_their_own_current_span() -> None:
    """It runs in a process of its own, since gevent replaces parts of the standard library."""
    program = """
        from gevent import monkey
        monkey.patch_all()
        import gevent, dramatiq
        from dramatiq import Worker
        from dramatiq.brokers.stub import StubBroker
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        from otel_queue_plugins.dramatiq import instrument

        exporter, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        broker = StubBroker()
        instrument(broker, tracer_provider=provider)
        seen = set()

        def current_span_id():
            return trace.get_current_span().get_span_context().span_id

        def run():
            first = current_span_id()
            gevent.sleep(0.001)
            assert current_span_id() == first
            seen.add(first)

        add = dramatiq.actor(run, actor_name="add", broker=broker, max_retries=0)
        for _ in range(100):
            add.send()
        worker = Worker(broker, worker_timeout=50, worker_threads=20)
        worker.start()
        with gevent.Timeout(30):
            while len(seen) < 100:
                gevent.sleep(0.01)
        worker.stop()
        spans = [s for s in exporter.get_finished_spans() if s.name == "process add"]
        assert len(spans) == 100 and {s.context.span_id for s in spans} == seen
        print("fine")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "No module named 'gevent'" in done.stderr:
        import pytest

        pytest.skip("gevent is not installed")
    assert done.stdout == "fine\n", done.stderr


def test_delivery_is_counted_in_flight_while_actor_runs(shop: Shop) -> None:
    """The gauges of the worker show capacity and deliveries in flight."""
    middleware = shop.instrument()
    seen: dict[str, float] = {}

    def run() -> None:
        for name in ("in_flight", "capacity", "reserved"):
            seen[name] = shop.total(f"taskqueue.worker.{name}")

    shop.actor(run, actor_name="add").send()
    shop.work(threads=3)
    assert seen == {"in_flight": 1, "capacity": 3, "reserved": 0}
    assert shop.total("taskqueue.worker.in_flight") == 0
    assert shop.total("taskqueue.worker.capacity") == 0
    assert middleware is shop.broker.middleware[0]
    assert outcome(shop.span("process add")) == "success"
