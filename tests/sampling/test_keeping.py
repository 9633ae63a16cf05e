"""Deliveries that are kept for their ending: what leaves the process of an unsampled trace."""

from __future__ import annotations

import json
import logging
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Outcome
from otel_queue_plugins.sampling import KeepingSpanProcessor, TaskQueueSampler
from otel_queue_plugins.sdk.sampling.keeping import MOST_SPANS, keeping
from tests.core.conftest import ROUTE, in_child

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.core.conftest import Queue

    MakeQueue = Callable[..., Queue]

REASON = "taskqueue.sampling.reason"
FAILED = Ending(Outcome.FAILURE, error=ValueError("no"))
RETRIED = Ending(Outcome.RETRY, error=ValueError("no"), delay=1.0)


def exported(queue: Queue) -> list[tuple[str, Any]]:
    """Name and reason of each span that left."""
    return [(span.name, span.attributes.get(REASON)) for span in queue.spans()]


def run(queue: Queue, ending: Ending, takes: float = 0.0, children: int = 1) -> dict[str, object]:
    """Send a message, and process it with some spans inside; returns what it carried."""
    carrier = queue.send()
    operation = queue.start(carrier)
    tracer = queue.tracer_provider.get_tracer("app")
    for _ in range(children):
        with tracer.start_as_current_span("query"):
            pass
    queue.clock.advance(takes)
    queue.telemetry.end_process(operation, ending)
    return carrier


@pytest.mark.parametrize(
    ("keep", "ending", "takes", "reason"),
    [
        ("errors", FAILED, 0, "error"),
        ("errors", Ending(Outcome.TIMEOUT), 0, "error"),
        ("errors", Ending(Outcome.DEAD_LETTER, error=ValueError()), 0, "error"),
        ("errors", RETRIED, 9, None),
        ("errors", Ending(Outcome.FAILURE, error=ValueError(), expected=True), 0, None),
        ("errors", SUCCEEDED, 9, None),
        ("retries", RETRIED, 0, "retry"),
        ("retries", FAILED, 9, None),
        ("slow:5s", SUCCEEDED, 5, "slow"),
        ("slow:5s", FAILED, 4.9, None),
        ("errors,slow:5s,retries", FAILED, 9, "error"),
        ("errors,slow:5s,retries", RETRIED, 9, "retry"),
        ("errors,slow:5s,retries", SUCCEEDED, 9, "slow"),
    ],
)
def test_delivery_is_kept_for_its_ending(
    make_queue: MakeQueue, keep: str, ending: Ending, takes: float, reason: str | None
) -> None:
    """With what it did in this process, each marked with the reason; all else stays unsampled."""
    queue = make_queue(f"default=0;keep={keep}")
    carrier = run(queue, ending, takes)
    kept = [("query", reason), (f"process {ROUTE.task}", reason)]
    assert exported(queue) == (kept if reason else [])
    assert str(carrier["traceparent"])[-2:] in {"00", "02"}
    assert "tracestate" not in carrier
    if reason:
        query, process = queue.spans()
        assert query.parent.span_id == process.context.span_id
        assert process.attributes["taskqueue.task.outcome"] == ending.outcome.value
        assert len(encode_spans([query, process]).resource_spans) == 1


def test_sampled_delivery_is_not_marked_and_leaves_once(make_queue: MakeQueue) -> None:
    """It was sampled, and counts as that."""
    queue = make_queue("default=1.0;keep=errors")
    run(queue, FAILED)
    assert [reason for _, reason in exported(queue)] == [None, None, None]


def test_kept_span_has_no_threshold(make_queue: MakeQueue) -> None:
    """It stands for itself; what others wrote into the trace state stays."""
    queue = make_queue("default=0;keep=errors")
    state = "ot=th:8;x:1,vendor=y"
    carrier = {"traceparent": f"00-{1:032x}-{2:016x}-00", "tracestate": state}
    operation = queue.start(carrier)
    sent = queue.send()
    queue.telemetry.end_process(operation, FAILED)
    assert {span.context.trace_state.to_header() for span in queue.spans()} == {"ot=x:1,vendor=y"}
    assert sent["tracestate"] == state
    assert str(sent["traceparent"])[-2:] == "00"


def test_delivery_inside_another_is_kept_by_itself(make_queue: MakeQueue) -> None:
    """And goes with the outer one, if that is kept and it is not."""
    queue = make_queue("default=0;keep=errors")
    for inner, outer in ((FAILED, SUCCEEDED), (SUCCEEDED, FAILED), (FAILED, FAILED)):
        operation = queue.start(queue.send())
        inside = queue.start(None)
        with queue.tracer_provider.get_tracer("app").start_as_current_span("query"):
            pass
        queue.telemetry.end_process(inside, inner)
        queue.telemetry.end_process(operation, outer)
        names = [name.split()[0] for name, _ in exported(queue)]
        expected = {
            (FAILED, SUCCEEDED): ["query", "process"],
            (SUCCEEDED, FAILED): ["query", "process", "process"],
            (FAILED, FAILED): ["query", "process", "process"],
        }
        assert names == expected[inner, outer]
        queue.exporter.clear()


def test_span_that_ends_after_its_delivery_shares_its_fate(make_queue: MakeQueue) -> None:
    """As of a thread that the task has started."""
    queue = make_queue("default=0;keep=errors")
    tracer = queue.tracer_provider.get_tracer("app")
    for ending in (FAILED, SUCCEEDED):
        operation = queue.start(queue.send())
        late = tracer.start_span("late")
        queue.telemetry.end_process(operation, ending)
        late.end()
    assert [name.split()[0] for name, _ in exported(queue)] == ["process", "late"]


def test_no_more_than_a_thousand_spans_wait(make_queue: MakeQueue) -> None:
    """Of all deliveries together; the process spans themselves always leave, and room is freed."""
    queue = make_queue("default=0;keep=errors")
    for _ in range(2):
        run(queue, FAILED, children=MOST_SPANS + 50)
        assert len(queue.spans()) == MOST_SPANS + 1
        queue.exporter.clear()
    run(queue, SUCCEEDED, children=MOST_SPANS)
    run(queue, FAILED, children=1)
    assert len(queue.spans()) == 2


def test_spans_that_never_end_take_bounded_memory(make_queue: MakeQueue) -> None:
    """The oldest are given up; later deliveries are whole."""
    queue = make_queue("default=0;keep=errors")
    operation = queue.start(queue.send())
    tracer = queue.tracer_provider.get_tracer("app")
    left_open = [tracer.start_span("open") for _ in range(MOST_SPANS + 10)]
    queue.telemetry.end_process(operation, FAILED)
    assert [name for name, _ in exported(queue)] == [f"process {ROUTE.task}"]
    queue.exporter.clear()
    run(queue, FAILED)
    assert len(queue.spans()) == 2
    assert len(left_open) > MOST_SPANS


def test_request_of_an_unsampled_trace_is_dropped(make_queue: MakeQueue) -> None:
    """Only deliveries are recorded for their ending; nobody pays for the rest."""
    queue = make_queue("default=0;keep=errors")
    with queue.tracer_provider.get_tracer("web").start_as_current_span("GET /") as request:
        carrier = queue.send()
        assert not request.is_recording()
    queue.telemetry.end_process(queue.start(carrier), SUCCEEDED)
    assert queue.spans() == []


def test_delivery_that_somebody_else_records_is_kept(make_queue: MakeQueue) -> None:
    """As of a process that was killed."""
    queue = make_queue("default=0;keep=errors")
    carrier = queue.send()
    delivery = Delivery(route=ROUTE, id="m1")
    queue.telemetry.record_undelivered(delivery, carrier, Ending(Outcome.LOST))
    assert exported(queue) == [(f"process {ROUTE.task}", "error")]


def test_forked_child_leaves_what_is_open_to_its_parent(make_queue: MakeQueue) -> None:
    """And keeps its own deliveries."""
    queue = make_queue("default=0;keep=errors")
    operation = queue.start(queue.send())
    with queue.tracer_provider.get_tracer("app").start_as_current_span("query"):
        pass

    def of_child() -> str:
        queue.telemetry.end_process(queue.start({}), FAILED)
        return json.dumps([name for name, _ in exported(queue)])

    assert json.loads(in_child(of_child)) == [f"process {ROUTE.task}"]
    queue.telemetry.end_process(operation, FAILED)
    assert [name.split()[0] for name, _ in exported(queue)] == ["query", "process"]


def test_many_threads_keep_their_own_spans(make_queue: MakeQueue) -> None:
    """Each delivery leaves with its spans, and nothing stays behind."""
    queue = make_queue("default=0;keep=errors")

    def work() -> None:
        for number in range(50):
            run(queue, FAILED if number % 2 else SUCCEEDED, children=2)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    spans = queue.spans()
    assert len(spans) == 6 * 25 * 3
    parents = {span.context.span_id for span in spans if span.name.startswith("process")}
    assert {span.parent.span_id for span in spans if span.name == "query"} == parents


def test_provider_without_the_processor_says_once_that_it_cannot(
    make_queue: MakeQueue, caplog: pytest.LogCaptureFixture
) -> None:
    """And records nothing of what is not sampled."""
    queue = make_queue("default=0;keep=errors", is_keeping=False)
    with caplog.at_level(logging.WARNING, "otel_queue_plugins"):
        for _ in range(3):
            operation = queue.start(queue.send())
            assert not operation.span.is_recording()
            queue.telemetry.end_process(operation, FAILED)
    (line,) = caplog.records
    assert "keep of TaskQueueSampler has no effect" in line.getMessage()
    assert "KeepingSpanProcessor" in line.getMessage()
    assert queue.spans() == []


def test_sampler_that_keeps_nothing_needs_no_processor() -> None:
    """What exports is then what it was; nor does a sampler of somebody else."""
    processor = SpanProcessor()
    assert keeping(TaskQueueSampler("default=0"), processor) is processor
    assert keeping(None, processor) is processor
    wrapped = keeping(TaskQueueSampler(keep="errors"), processor)
    assert type(wrapped) is KeepingSpanProcessor
    assert wrapped.force_flush() is True
    wrapped.shutdown()


def test_span_without_context_is_handed_on() -> None:
    """Whatever a provider of an application makes of spans."""
    ended: list[ReadableSpan] = []
    inner: Any = SpanProcessor()
    inner.on_end = ended.append
    sampler = TaskQueueSampler("default=0", keep="errors")
    processor = KeepingSpanProcessor(sampler, inner)
    odd: Any = SimpleNamespace(context=None)
    processor.on_start(odd)
    processor.on_end(odd)
    assert ended == [odd]
    provider = TracerProvider(sampler=sampler)
    unknown = ReadableSpan("x", SpanContext(1, 2, False, TraceFlags(0), TraceState()))
    processor.on_end(unknown)
    assert len(ended) == 1
    provider.shutdown()
