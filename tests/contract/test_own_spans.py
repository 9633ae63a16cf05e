"""`trace_task`, `trace_operation`, and `QueueTracer` with wrong arguments, threads and asyncio."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry import trace

from otel_queue_plugins import QueueTracer, trace_operation, trace_task


@pytest.fixture
def providers(tracer_provider: Any, meter_provider: Any) -> dict[str, Any]:
    """The tracer provider is the global one, too."""
    trace.set_tracer_provider(tracer_provider)
    return {"tracer_provider": tracer_provider, "meter_provider": meter_provider}


@trace_task
def plain(number: int) -> int:
    """Double a number."""
    return number * 2


@trace_task(name="wait", attributes={"kind": "async"})
async def coroutine() -> str:
    """Wait for nothing."""
    await asyncio.sleep(0)
    return "done"


@trace_task
def numbers() -> Any:
    """Yield what it is sent, with the name of the current span."""
    sent = yield trace.get_current_span().name
    yield sent
    return "end"


@trace_task
async def later() -> Any:
    """Yield one number."""
    yield 1


def test_spans_are_children_of_the_delivery(providers: Any, span_exporter: Any) -> None:
    """Also across `await`, and while a generator is in use."""
    queue = QueueTracer("myqueue", system="redis", **providers)

    async def work() -> None:
        async with queue.process(task="resize", destination="images"):
            assert plain(2) == 4
            assert await coroutine() == "done"
            current = trace.get_current_span()
            generator = numbers()
            assert next(generator).endswith("numbers")
            assert trace.get_current_span() is current
            assert generator.send("a") == "a"
            with pytest.raises(StopIteration, match="end"):
                next(generator)
            assert [each async for each in later()] == [1]
            with pytest.raises(ValueError, match="no"), trace_operation("step"):
                raise ValueError("no")

    asyncio.run(work())
    *children, process = span_exporter.get_finished_spans()
    assert [span.name.rpartition(".")[2] for span in children] == [
        *("plain", "wait", "numbers", "later", "step")
    ]
    assert {span.parent.span_id for span in children} == {process.context.span_id}
    assert [span.status.is_ok for span in children] == [True, True, True, True, False]
    assert children[-1].attributes["error.type"] == "ValueError"


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("", {"system": "redis"}, ValueError),
        ("q", {"system": 7}, ValueError),
        ("q", {"system": "redis", "relation": "parent"}, ValueError),
        ("q", {"system": "redis", "relatoin": "link"}, TypeError),
        ("q", {"system": "redis", "tracer_provider": 3}, ValueError),
        ("q", {"system": "redis", "server_port": "6379"}, ValueError),
    ],
)
def test_wrong_argument_is_an_error_at_construction(name: str, arguments: Any, error: Any) -> None:
    """It names the value or the choices."""
    with pytest.raises(error):
        QueueTracer(name, **arguments)


@pytest.mark.parametrize(
    "headers", [None, 7, "text", [1], {b"traceparent": b"\xff"}, {3: object()}]
)
def test_wrong_value_in_a_worker_raises_nothing(
    providers: Any, span_exporter: Any, headers: Any
) -> None:
    """It counts as unknown, and the delivery is recorded."""
    queue: Any = QueueTracer("myqueue", system="redis", **providers)
    with queue.process(
        task=None,
        destination=7,
        message_id=object(),
        headers=headers,
        attempt="x",
        max_attempts=[],
        priority="1e9",
        enqueued_at="yesterday",
        eta=float("nan"),
        expected="ValueError",
    ) as delivery:
        again = delivery.retry(delay="soon", reason=b"\xff")
    assert again["traceparent"]
    (span,) = span_exporter.get_finished_spans()
    assert span.attributes["taskqueue.task.outcome"] == "retry"


def test_pairs_of_bytes_are_headers(providers: Any, span_exporter: Any) -> None:
    """As Kafka's clients have them."""
    queue = QueueTracer("myqueue", system="kafka", **providers)
    with queue.send(task="resize", destination="images", headers={"mine": "1"}) as send:
        pairs = [(key.encode(), value.encode()) for key, value in send.headers.items()]
    assert send.headers["mine"] == "1"
    with (
        pytest.raises(KeyboardInterrupt),
        queue.process(task="resize", destination="images", headers=pairs),
    ):
        raise KeyboardInterrupt
    sent, process = span_exporter.get_finished_spans()
    assert process.parent.span_id == sent.context.span_id
    assert process.attributes["taskqueue.task.outcome"] == "lost"


@pytest.mark.parametrize("fails", [False, True])
def test_retry_that_cannot_be_enqueued_is_lost(
    providers: Any, span_exporter: Any, *, fails: bool
) -> None:
    """The error is then that of the broker; an error that is raised again is still a retry."""
    queue = QueueTracer("myqueue", system="redis", **providers)

    def push(_headers: dict[str, str]) -> None:
        if fails:
            raise ConnectionError("the broker is away")

    def work() -> None:
        raise TimeoutError

    def run() -> None:
        with queue.process(task="resize", destination="images") as delivery:
            try:
                work()
            except TimeoutError:
                push(delivery.retry(delay=5.0))
                raise

    with pytest.raises(ConnectionError if fails else TimeoutError):
        run()
    (span,) = span_exporter.get_finished_spans()
    assert span.attributes["taskqueue.task.outcome"] == ("lost" if fails else "retry")
    assert span.attributes.get("taskqueue.lost.reason") == (
        "the retry was not enqueued: ConnectionError" if fails else None
    )
