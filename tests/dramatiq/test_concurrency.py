"""The right span is current wherever the code of an actor runs."""

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


def here() -> int:
    """The id of the current span."""
    return trace.get_current_span().get_span_context().span_id


def test_the_span_is_current_in_coroutines_tasks_and_threads_of_an_async_actor(
    shop: Shop,
) -> None:
    """Before and after an await, in a task, in a thread made by asyncio."""
    shop.broker.add_middleware(AsyncIO())
    shop.instrument()
    seen: list[int] = []

    async def part() -> None:
        seen.append(here())

    async def run() -> None:
        seen.append(here())
        await asyncio.sleep(0.01)
        seen.append(here())
        await asyncio.create_task(part())
        seen.append(await asyncio.to_thread(here))

    shop.actor(run, actor_name="add").send()
    shop.work()
    assert seen == [shop.span("process add").context.span_id] * 4


def test_a_task_that_outlives_its_actor_sends_as_its_child_and_keeps_nothing(shop: Shop) -> None:
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
            seen.append(here())
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
    assert over.wait(5)
    shop.broker.join("default")
    worker.join()
    worker.stop()
    process = shop.span("process add")
    assert seen == [process.context.span_id] * 2
    assert {send.parent and send.parent.span_id for send in shop.spans("send later")} == {
        process.context.span_id
    }


def test_many_threads_do_not_see_each_others_spans(shop: Shop) -> None:
    """A hundred messages over eight threads."""
    shop.instrument()
    seen: dict[int, int] = {}

    def run(number: int) -> None:
        first = here()
        threading.Event().wait(0.001)
        seen[number] = here() if here() == first else 0

    add = shop.actor(run, actor_name="add")
    for number in range(100):
        add.send(number)
    shop.work(threads=8)
    assert set(seen.values()) == {span.context.span_id for span in shop.spans("process add")}
    assert len(set(seen.values())) == 100


def test_a_context_handed_to_a_thread_pool_is_the_actors(shop: Shop) -> None:
    """As one does by hand."""
    shop.instrument()
    seen: list[int] = []

    def run() -> None:
        with ThreadPoolExecutor(1) as pool:
            seen.append(pool.submit(contextvars.copy_context().run, here).result())

    shop.actor(run, actor_name="add").send()
    shop.work()
    assert seen == [shop.span("process add").context.span_id]


def test_log_records_can_tell_the_task(shop: Shop) -> None:
    """The label is there in the actor and gone afterwards."""
    shop.instrument()
    seen: list[Any] = []
    add = shop.actor(lambda: seen.append(task_in_progress()), actor_name="add")
    message = add.send()
    shop.work()
    assert seen == [(message.message_id, "add")]


def test_an_actor_called_directly_is_no_delivery(shop: Shop) -> None:
    """It is a function call."""
    shop.instrument()
    add = shop.actor(lambda: None, actor_name="add")
    add()
    assert shop.spans() == []


def test_greenlets_do_not_see_each_others_spans() -> None:
    """In a process of its own, as gevent replaces half of the standard library."""
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

        def here():
            return trace.get_current_span().get_span_context().span_id

        def run():
            first = here()
            gevent.sleep(0.001)
            assert here() == first
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


def test_a_delivery_is_in_flight_while_it_runs(shop: Shop) -> None:
    """The gauges of the worker."""
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
