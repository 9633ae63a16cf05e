"""What `TaskQueueSampler` decides, and what of it leaves the process."""

from __future__ import annotations

import logging
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, DEFAULT_ON, Decision, ParentBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
    set_span_in_context,
    use_span,
)

from otel_queue_plugins.core.carrier.envelope import ASSUMED_FLAGS
from otel_queue_plugins.core.messages import Ending, Outcome, Route
from otel_queue_plugins.core.settings import problems
from otel_queue_plugins.sampling import KeepingSpanProcessor, TaskQueueSampler
from otel_queue_plugins.sdk.config import plan
from otel_queue_plugins.sdk.export.exporters import CountingSpanProcessor
from otel_queue_plugins.sdk.providers import factory
from otel_queue_plugins.sdk.sampling import thresholds
from tests.core.conftest import ROUTE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.core.conftest import Queue

    MakeQueue = Callable[..., Queue]

OTHER = Route(system="redis", destination="bulk", task="audit.row")
FAILED = Ending(Outcome.FAILURE, error=ValueError("no"))


def state_of(carrier: dict[str, object]) -> str:
    """Its `tracestate`, "" if it has none."""
    return str(carrier.get("tracestate", ""))


def is_sampled(carrier: dict[str, object]) -> bool:
    """Whether the message is of a sampled trace."""
    return bool(int(str(carrier["traceparent"])[-2:], 16) & 1)


def test_rule_decides_at_the_send_and_the_worker_keeps_to_it(make_queue: MakeQueue) -> None:
    """By task, by queue, or by default; the first that matches."""
    queue = make_queue("task:shop.*=1.0;queue:shop=0;queue:bulk=0;default=1.0")
    for route in (ROUTE, OTHER):
        carrier = queue.send(route=route)
        operation = queue.start(carrier, route=route)
        queue.telemetry.end_process(operation, FAILED)
        assert is_sampled(carrier) is (route is ROUTE)
    assert {span.attributes["taskqueue.task.name"] for span in queue.spans()} == {ROUTE.task}
    assert len(queue.spans()) == 2


def test_sampled_trace_says_what_it_stands_for_on_every_span(make_queue: MakeQueue) -> None:
    """Also in the message, so that every process of the trace says it."""
    queue = make_queue("default=0.5")
    for _ in range(100):
        carrier = queue.send()
        process = queue.start(carrier)
        queue.telemetry.end_process(process, FAILED)
        assert state_of(carrier) == ("ot=th:8" if is_sampled(carrier) else "")
    spans = queue.spans()
    assert {span.context.trace_state.to_header() for span in spans} == {"ot=th:8"}
    assert 20 < len(spans) / 2 < 80
    assert all(thresholds.randomness_of(span.context.trace_id) >> 55 for span in spans)


def test_what_is_kept_whole_counts_as_one(make_queue: MakeQueue) -> None:
    """A threshold of zero."""
    queue = make_queue("")
    assert state_of(queue.send()) == "ot=th:0"


def test_message_of_a_sampled_trace_without_threshold_stays_without(make_queue: MakeQueue) -> None:
    """Whoever began the trace has not said how probable it was; what others wrote stays."""
    queue = make_queue("default=0")
    parent = SpanContext(1, 2, True, TraceFlags(1), TraceState([("vendor", "x")]))
    with use_span(NonRecordingSpan(parent)):
        carrier = queue.send()
    assert is_sampled(carrier)
    assert state_of(carrier) == "vendor=x"
    assert len(queue.spans()) == 1


def test_message_of_an_unsampled_trace_is_not_sampled(make_queue: MakeQueue) -> None:
    """Whatever the rules say."""
    queue = make_queue("default=1.0")
    with use_span(NonRecordingSpan(SpanContext(1, 2, True, TraceFlags(0)))):
        carrier = queue.send()
    assert not is_sampled(carrier)
    assert queue.spans() == []


def test_linked_trace_is_sampled_as_the_one_it_is_linked_with(make_queue: MakeQueue) -> None:
    """With its weight, and its random number, which the threshold was compared with."""
    queue = make_queue("default=0.5", relation="link")
    for _ in range(40):
        carrier = queue.send()
        before = len(queue.spans("process"))
        operation = queue.start(carrier)
        queue.telemetry.end_process(operation, FAILED)
        found = queue.spans("process")[before:]
        assert len(found) == is_sampled(carrier)
        for span in found:
            (link,) = span.links
            number = thresholds.randomness_of(link.context.trace_id)
            assert span.context.trace_id != link.context.trace_id
            assert span.context.trace_state.to_header() == f"ot=th:8;rv:{number:014x}"


def test_retry_without_relation_decides_anew(make_queue: MakeQueue) -> None:
    """Its link to the attempt before does not carry whether that was sampled."""
    queue = make_queue("default=0", relation="none")
    carrier = queue.send()
    operation = queue.start(carrier)
    queue.telemetry.requeue(operation, carrier)
    queue.telemetry.end_process(operation, Ending(Outcome.RETRY))
    queue.telemetry.end_process(queue.start(carrier), FAILED)
    assert queue.spans() == []


def test_link_whose_flags_are_assumed_is_not_followed() -> None:
    """The next one is, which tells them; but only deliveries follow any."""
    sampler = TaskQueueSampler("default=1.0")
    assumed = Link(SpanContext(1, 2, True, ASSUMED_FLAGS))
    unsampled = Link(SpanContext(3, 4, True, TraceFlags(0)))
    invalid = Link(SpanContext(0, 0, True, TraceFlags(1)))

    def decision(*links: Link) -> Decision:
        return sampler.should_sample(None, 9, "x", kind, links=links).decision

    kind = SpanKind.CONSUMER

    assert decision(assumed, invalid) is Decision.RECORD_AND_SAMPLE
    assert decision(assumed, unsampled) is Decision.DROP
    assert decision() is Decision.RECORD_AND_SAMPLE
    kind = SpanKind.INTERNAL
    assert decision(unsampled) is Decision.RECORD_AND_SAMPLE


def test_trace_state_that_is_there_already_is_added_to() -> None:
    """Its `rv` is the random number, and nothing of others is lost."""
    sampler = TaskQueueSampler("default=0.5")
    state = TraceState([("vendor", "x"), ("ot", "rv:90000000000000;z:1")])
    result = sampler.should_sample(None, 1, "x", trace_state=state)
    assert result.decision is Decision.RECORD_AND_SAMPLE
    assert result.trace_state is not None
    assert result.trace_state.to_header() == "ot=th:8;rv:90000000000000;z:1,vendor=x"
    low = TraceState([("ot", "rv:10000000000000")])
    result = sampler.should_sample(None, 1, "x", trace_state=low)
    assert (result.decision, result.trace_state) == (Decision.DROP, low)


def test_adaptive_rate_is_each_routes_own(make_queue: MakeQueue, fake_time) -> None:
    """Of two tasks under one rule nearly all of the rare one is kept."""
    queue = make_queue("default=1/s")
    kept = {ROUTE.task: 0, OTHER.task: 0}
    for tick in range(12_000):
        fake_time.now += 0.1
        kept[ROUTE.task] += is_sampled(queue.send())
        if tick % 100 == 0:
            kept[OTHER.task] += is_sampled(queue.send(route=OTHER))
    assert kept[OTHER.task] > 90
    assert 0.7 * 1200 < sum(kept.values()) < 1.2 * 1200


def test_failures_of_sends_and_deliveries_reach_the_sampler(make_queue: MakeQueue) -> None:
    """Those for good, and attempts that raised; not a retry that the task asked for."""
    queue = make_queue("default=5/s")
    carrier = queue.send()
    for ending in (FAILED, Ending(Outcome.RETRY, error=ValueError("no")), Ending(Outcome.RETRY)):
        queue.telemetry.end_process(queue.start(carrier), ending)
    sending = queue.telemetry.start_send(_message(), {})
    queue.telemetry.end_send(sending, ConnectionError())
    rate = queue.tracer_provider.sampler._matches[ROUTE.task, ROUTE.destination]
    assert rate._routes[ROUTE.task, ROUTE.destination].failed == 3


def _message():
    from otel_queue_plugins.core.messages import Message

    return Message(route=ROUTE, id="m")


def test_what_is_no_message_has_the_default(make_queue: MakeQueue) -> None:
    """A request that sends decides for its messages."""
    queue = make_queue("task:*=0;queue:*=0;default=1.0")
    with queue.tracer_provider.get_tracer("web").start_as_current_span("GET /"):
        carrier = queue.send()
    assert is_sampled(carrier)
    assert len(queue.spans()) == 2


def test_sampler_below_another_decides_at_its_root_alone() -> None:
    """`ParentBased(TaskQueueSampler(...))` is the same thing."""
    inner = TaskQueueSampler("default=0")
    sampler = ParentBased(inner)
    parent = set_span_in_context(NonRecordingSpan(SpanContext(1, 2, True, TraceFlags(1))))
    assert sampler.should_sample(parent, 1, "x").decision is Decision.RECORD_AND_SAMPLE
    assert sampler.should_sample(None, 1, "x").decision is Decision.DROP
    assert "default=0" in sampler.get_description()
    assert "keep=errors" in TaskQueueSampler("default=0", keep="errors").get_description()


def test_number_of_known_routes_is_bounded() -> None:
    """Also where names are made up."""
    sampler = TaskQueueSampler("task:a=0;default=5/s")
    for number in range(10_000):
        about = {"taskqueue.task.name": f"{number}", "messaging.destination.name": "q"}
        sampler.should_sample(None, 1, "x", SpanKind.PRODUCER, about)
    assert len(sampler._matches) <= 4096


def test_entry_point_makes_the_sampler_for_anybody() -> None:
    """By the name that `OTEL_TRACES_SAMPLER` has, with the text of `OTEL_TRACES_SAMPLER_ARG`."""
    (point,) = entry_points(group="opentelemetry_traces_sampler", name="taskqueue")
    sampler = point.load()("task:a=0.5")
    assert type(sampler) is TaskQueueSampler
    assert sampler.get_description() == "TaskQueueSampler{task:a=0.5}"
    assert type(point.load()(None)) is TaskQueueSampler


@pytest.mark.parametrize(
    ("rules", "sampler", "processor"),
    [
        ("default=0;keep=errors", TaskQueueSampler, KeepingSpanProcessor),
        ("default=0", TaskQueueSampler, CountingSpanProcessor),
        ("default=nothing", ParentBased, CountingSpanProcessor),
    ],
)
def test_provider_from_the_environment(
    rules: str, sampler: type, processor: type, caplog: pytest.LogCaptureFixture
) -> None:
    """Has the sampler, and a processor that keeps if the rules say so; a wrong rule is told."""
    named = {"OTEL_TRACES_EXPORTER": "console", "OTEL_TRACES_SAMPLER": "taskqueue"}
    problems.forget_reported()
    read = plan.read({**named, "OTEL_TRACES_SAMPLER_ARG": rules})
    problems.report(read.problems)
    provider = factory.build("traces", read)
    try:
        assert type(provider.sampler) is sampler
        (found,) = provider._active_span_processor._span_processors
        assert type(found) is processor
        lines = [record.getMessage() for record in caplog.records]
        assert ["sampling rule 'default=nothing'" in line for line in lines] == [True] * (
            sampler is ParentBased
        )
    finally:
        provider.shutdown()
        problems.forget_reported()


def test_wrong_rule_in_the_environment_is_one_line_and_the_default_sampler(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """However often the sampler is made."""
    (point,) = entry_points(group="opentelemetry_traces_sampler", name="taskqueue")
    problems.forget_reported()
    with caplog.at_level(logging.WARNING, "otel_queue_plugins"):
        assert point.load()("task:a=2") is DEFAULT_ON
        assert point.load()("task:a=2") is DEFAULT_ON
    (line,) = caplog.records
    assert line.levelno == logging.ERROR
    assert line.getMessage().startswith(
        "OTEL_TRACES_SAMPLER_ARG: sampling rule 'task:a=2': '2' is not a share from 0 to 1"
    )
    problems.forget_reported()
    assert DEFAULT_ON._root is ALWAYS_ON
