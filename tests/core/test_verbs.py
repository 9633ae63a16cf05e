"""Verbs in any order: nested, repeated, missing, crossed, in other threads."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from opentelemetry import context, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from otel_queue_plugins.core import operation as operations
from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Message, Outcome
from otel_queue_plugins.core.operation import (
    ProcessOperation,
    SendOperation,
    current_delivery,
)
from otel_queue_plugins.core.telemetry import QueueTelemetry
from tests.conftest import FakeClock
from tests.core.conftest import ROUTE, Queue

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = context.create_key("app")


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No test leaves a span or a delivery current."""
    yield
    assert not context.get_current()
    assert current_delivery.get() is None


def message() -> Message:
    """Any message."""
    return Message(route=ROUTE, id="m1")


class Verbs(RuleBasedStateMachine):
    """Any sequence of verbs, compared with a model of what must have been exported."""

    def __init__(self) -> None:
        super().__init__()
        self.exporter = InMemorySpanExporter()
        traces = TracerProvider(shutdown_on_exit=False)
        traces.add_span_processor(SimpleSpanProcessor(self.exporter))
        reader = InMemoryMetricReader()
        meters = MeterProvider([reader], shutdown_on_exit=False)
        self.queue = Queue(
            QueueTelemetry("celery", tracer_provider=traces, meter_provider=meters),
            FakeClock(),
            self.exporter,
            reader,
            traces,
            meters,
        )
        self.outside = context.attach(context.set_value(KEY, "app", context.Context()))
        self.open: list[SendOperation | ProcessOperation] = []
        self.everything: list[SendOperation | ProcessOperation] = []
        self.entered: list[tuple[SendOperation | ProcessOperation, context.Context]] = []
        self.ended = {"send": 0, "process": 0}
        self.carriers: list[dict[str, object]] = [{}]

    def _begin(self, operation: SendOperation | ProcessOperation) -> None:
        self.open.append(operation)
        self.everything.append(operation)

    @rule()
    def start_send(self) -> None:
        carrier: dict[str, object] = {}
        self._begin(self.queue.telemetry.start_send(message(), carrier))
        self.carriers.append(carrier)

    @rule(which=st.integers(0))
    def start_process(self, which: int) -> None:
        self._begin(self.queue.start(self.carriers[which % len(self.carriers)]))

    @precondition(lambda self: self.everything)
    @rule(which=st.integers(0), failed=st.booleans())
    def end_any(self, which: int, failed: bool) -> None:
        """The innermost, one further out, or one that has ended already."""
        operation = self.everything[which % len(self.everything)]
        inside = trace.get_current_span()
        if isinstance(operation, SendOperation):
            error = OSError("away") if failed else None
            self.queue.telemetry.end_send(operation, error)
        else:
            outcome = Outcome.FAILURE if failed else Outcome.SUCCESS
            self.queue.telemetry.end_process(operation, Ending(outcome=outcome))
        if operation in self.open:
            self.open.remove(operation)
            self.ended["send" if isinstance(operation, SendOperation) else "process"] += 1
        else:
            assert trace.get_current_span() is inside

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0))
    def abandon(self, which: int) -> None:
        operation = self.open[which % len(self.open)]
        if isinstance(operation, ProcessOperation):
            self.queue.telemetry.abandon_process(operation)
            self.open.remove(operation)

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0))
    def requeue(self, which: int) -> None:
        operation = self.everything[which % len(self.everything)]
        if isinstance(operation, ProcessOperation):
            carrier: dict[str, object] = {}
            self.queue.telemetry.requeue(operation, carrier)
            self.carriers.append(carrier)

    @invariant()
    def exactly_one_span_each(self) -> None:
        for kind, count in self.ended.items():
            assert len(self.queue.spans(kind)) == count

    @invariant()
    def what_is_current_is_not_over(self) -> None:
        """The current span is none, or one whose end is still to come."""
        current = trace.get_current_span()
        assert current is trace.INVALID_SPAN or current in [one.span for one in self.open]
        assert current_delivery.get() is None or current_delivery.get() in self.open

    @invariant()
    def counted_as_often(self) -> None:
        consumed = self.queue.points("messaging.client.consumed.messages")
        assert sum(point.value for point in consumed) == self.ended["process"]
        sent = self.queue.points("messaging.client.sent.messages")
        assert sum(point.value for point in sent) == self.ended["send"]
        in_flight = sum(point.value for point in self.queue.points("taskqueue.worker.in_flight"))
        assert in_flight == len([one for one in self.open if isinstance(one, ProcessOperation)])

    def teardown(self) -> None:
        """Once all have ended, in any order, the context is what it was."""
        try:
            while self.open:
                self.end_any(self.everything.index(self.open[0]), failed=False)
            assert dict(context.get_current()) == {KEY: "app"}
            assert current_delivery.get() is None
        finally:
            operations._innermost.set(None)
            context.detach(self.outside)


TestVerbs = Verbs.TestCase
TestVerbs.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_send_that_raises_exports_span_with_error(queue: Queue) -> None:
    """The context of the caller is as before; the span has the error, the counter its type."""
    with queue.tracer_provider.get_tracer("app").start_as_current_span("request") as request:
        operation = queue.telemetry.start_send(message(), {})
        assert trace.get_current_span() is operation.span
        queue.telemetry.end_send(operation, ConnectionError("refused"))
        assert trace.get_current_span() is request
    send = queue.spans("send")[0]
    assert send.status.status_code is StatusCode.ERROR
    assert send.attributes["error.type"] == "ConnectionError"
    assert send.attributes["exception.message"] == "refused"
    assert "ConnectionError" in send.attributes["exception.stacktrace"]
    assert [event.name for event in send.events] == ["exception"]
    [sent] = queue.points("messaging.client.sent.messages")
    assert sent.attributes["error.type"] == "ConnectionError"


def test_send_inside_a_task_is_child_of_process_span(queue: Queue) -> None:
    """The process span is current while the task runs."""
    operation = queue.start(queue.send())
    queue.send()
    queue.telemetry.end_process(operation, SUCCEEDED)
    first, inner, process = queue.spans()
    assert inner.parent.span_id == process.context.span_id
    assert inner.context.trace_id == first.context.trace_id


def test_two_deliveries_with_one_id_end_separately(queue: Queue) -> None:
    """State belongs to the operation, never to an id."""
    outer, inner = queue.start({}), queue.start({})
    queue.telemetry.end_process(inner, SUCCEEDED)
    assert current_delivery.get() is outer
    queue.telemetry.end_process(outer, Ending(outcome=Outcome.FAILURE))
    outcomes = [span.attributes["taskqueue.task.outcome"] for span in queue.spans()]
    assert outcomes == ["success", "failure"]


def test_sends_without_end_are_bounded_in_memory() -> None:
    """A thread whose sends never end keeps a bounded number of them alive."""

    class Marked(SendOperation):
        __slots__ = ("__weakref__",)

    made = []

    def lose_sends() -> None:
        for _ in range(500):
            operation = Marked(context=context.Context({KEY: "lost"}))
            operation.enter()
            made.append(weakref.ref(operation))
        gc.collect()
        made[:] = [one for one in made if one() is not None]

    contextvars.copy_context().run(lose_sends)
    assert len(made) <= operations.MAX_DEPTH


def test_deliveries_ended_in_other_threads_are_bounded_in_memory(queue: Queue) -> None:
    """A thread that begins what other threads end keeps a bounded number alive."""
    notes = []

    class Note:
        pass

    def begin_many() -> None:
        ends = contextvars.Context()
        last = queue.start({})
        for _ in range(500):
            operation = queue.start({})
            operation.adapter_state = Note()
            notes.append(weakref.ref(operation.adapter_state))
            ends.run(queue.telemetry.end_process, last, SUCCEEDED)
            last = operation
        ends.run(queue.telemetry.end_process, last, SUCCEEDED)
        gc.collect()
        notes[:] = [one for one in notes if one() is not None]

    contextvars.copy_context().run(begin_many)
    assert len(notes) <= operations.MAX_DEPTH


def test_delivery_ended_in_another_thread_is_not_current(queue: Queue) -> None:
    """What its thread does next does not belong to it."""

    def begin() -> None:
        operation = queue.start({})
        contextvars.Context().run(queue.telemetry.end_process, operation, SUCCEEDED)
        assert current_delivery.get() is None

    contextvars.copy_context().run(begin)


def test_outer_end_restores_context_of_missing_inner_end(queue: Queue) -> None:
    """A late inner end changes nothing more."""
    delivery = queue.start({})
    lost = queue.telemetry.start_send(message(), {})
    queue.telemetry.end_process(delivery, SUCCEEDED)
    assert not context.get_current()
    queue.telemetry.end_send(lost)
    assert not context.get_current()
    assert len(queue.spans()) == 2


def test_end_in_another_thread_keeps_its_context(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """The span ends; the context of that thread is not changed, and nothing is logged."""
    seen: list[object] = []
    operation = contextvars.copy_context().run(queue.start, {})

    def end() -> None:
        token = context.attach(context.set_value(KEY, "mine"))
        queue.telemetry.end_process(operation, SUCCEEDED)
        seen.append(context.get_value(KEY))
        context.detach(token)

    thread = threading.Thread(target=end)
    thread.start()
    thread.join()
    assert seen == ["mine"]
    assert len(queue.spans("process")) == 1
    assert caplog.records == []


def test_coroutines_have_separate_current_spans(queue: Queue) -> None:
    """Each coroutine keeps its own current span over its awaits."""

    async def run(gate: asyncio.Event) -> bool:
        operation = queue.start({})
        await gate.wait()
        is_own = trace.get_current_span() is operation.span
        queue.telemetry.end_process(operation, SUCCEEDED)
        return is_own

    async def both() -> list[bool]:
        gate = asyncio.Event()
        tasks = [asyncio.create_task(run(gate)) for _ in range(3)]
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(both()) == [True] * 3
    assert len(queue.spans("process")) == 3


@pytest.mark.parametrize("delivered", [True, False])
def test_delivery_that_stays_current_is_parent_until_left(queue: Queue, delivered: bool) -> None:
    """Its span has ended; later spans are children of it, and nothing is in flight."""
    carrier = queue.send()
    if delivered:
        operation = queue.start(carrier)
        operation.stays_current = True
        queue.telemetry.end_process(operation, SUCCEEDED)
    else:
        operation = queue.telemetry.record_undelivered(
            Delivery(route=ROUTE, id="m1"), carrier, Ending(outcome=Outcome.REVOKED)
        )
        operation.enter()
    (process,) = queue.spans("process")
    assert trace.get_current_span().get_span_context() == process.context
    assert sum(point.value for point in queue.points("taskqueue.worker.in_flight")) == 0
    queue.send(id="m2")
    assert queue.spans("send")[-1].parent == process.context
    operation.leave()
    operation.leave()
    assert not context.get_current()
    assert len(queue.spans("process")) == 1


def test_abandon_after_end_changes_nothing(queue: Queue) -> None:
    """What has been recorded stays recorded."""
    operation = queue.start({})
    queue.telemetry.end_process(operation, SUCCEEDED)
    queue.telemetry.abandon_process(operation)
    assert len(queue.spans()) == 1


def test_empty_operations_can_be_ended_requeued_and_abandoned(queue: Queue) -> None:
    """A verb that failed returns an empty operation."""
    queue.telemetry.end_send(SendOperation())
    queue.telemetry.end_process(ProcessOperation(), SUCCEEDED)
    queue.telemetry.abandon_process(ProcessOperation())
    carrier: dict[str, object] = {"otq": "stale"}
    queue.telemetry.requeue(ProcessOperation(), carrier)
    assert carrier == {}
    assert queue.spans() == []


def test_keyboard_interrupt_is_not_caught(queue: Queue) -> None:
    """Exits and interrupts are the framework's; only exceptions are caught."""

    class Interrupting(dict[str, object]):
        def __contains__(self, key: object) -> bool:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        queue.telemetry.start_process(Delivery(route=ROUTE, id="m"), Interrupting(otq="1"))


class FailingInstruments:
    """A fast path whose histograms raise."""

    def spans(self, _tracer: object) -> None:
        return None

    def set_attributes(self, span: trace.Span, attributes: dict[str, Any]) -> None:
        span.set_attributes(attributes)

    def add_event(self, span: trace.Span, event: str, at_ns: int) -> None:
        span.add_event(event, None, at_ns)

    def bind(self, _histogram: object) -> Any:
        def record(*_: object) -> None:
            raise RuntimeError("no")

        return record


def test_failing_instrument_lets_the_span_end(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is logged once, and the context is restored."""
    queue = dataclasses.replace(queue, fast_path=FailingInstruments()).sibling()
    carrier = queue.send()
    queue.process(carrier)
    queue.process(carrier)
    assert [span.name.split()[0] for span in queue.spans()] == ["send", "process", "process"]
    assert not context.get_current()
    assert len([one for one in caplog.records if "end_process" in one.getMessage()]) <= 1


def test_send_of_invalid_message_exports_nothing(queue: Queue) -> None:
    """A failure in our own code does not reach the caller."""
    broken: Any = object()
    operation = queue.telemetry.start_send(broken, {})
    queue.telemetry.end_send(operation)
    assert queue.spans() == []
    assert not context.get_current()


def test_send_with_explicit_start_uses_it(queue: Queue) -> None:
    """A caller that learns late what is sent gives the time when sending began."""
    began = queue.clock() / 1e9 - 2.0
    operation = queue.telemetry.start_send(message(), {}, began)
    queue.telemetry.end_send(operation)
    [span] = queue.spans("send")
    assert span.end_time - span.start_time == pytest.approx(2e9, abs=1e3)
