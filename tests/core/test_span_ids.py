"""Span ids that two processes agree on: of group members, and of deliveries that two may record."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler, SamplingResult
from opentelemetry.trace import NoOpTracerProvider, ProxyTracerProvider

from otel_queue_plugins.core.carrier import ids
from otel_queue_plugins.core.messages import (
    SUCCEEDED,
    Delivery,
    Ending,
    Joined,
    Membership,
    Outcome,
)
from otel_queue_plugins.core.telemetry import QueueTelemetry
from tests.core.conftest import ROUTE, Queue

GROUPS = ["5a1c9c3e-0000-4000-8000-000000000000", "a;b:c" + "é" * 3, "long" * 40]


def send_members(queue: Queue, group: str, size: int) -> list[dict[str, object]]:
    """Send all messages of a group."""
    return [
        queue.send(id=f"m{index}", membership=Membership(id=group, index=index, size=size))
        for index in range(size)
    ]


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("traced", [True, False], ids=["in a trace", "outside"])
def test_joining_message_links_to_each_member(queue: Queue, group: str, traced: bool) -> None:
    """The body of a chord carries no list, and still links to the send spans of its header."""
    if traced:
        with queue.tracer_provider.get_tracer("app").start_as_current_span("request"):
            carriers = send_members(queue, group, 3)
    else:
        carriers = send_members(queue, group, 3)
    members = queue.spans("send")
    last = queue.start(carriers[-1])
    body = queue.send(id="body", joins=Joined(id=group, size=3))
    queue.telemetry.end_process(last, SUCCEEDED)
    process = queue.process(body, id="body")
    assert process.parent.span_id == queue.spans("send")[-1].context.span_id
    assert [(link.context.trace_id, link.context.span_id) for link in process.links] == [
        (member.context.trace_id, member.context.span_id) for member in members
    ]


def test_joined_group_without_trace_has_no_links() -> None:
    """If the trace of the members is unknown, no link is made up."""
    assert list(ids.member_contexts(Joined(id="g", size=3))) == []


def test_joined_group_with_explicit_trace_links_into_it(queue: Queue) -> None:
    """The trace given with the group wins over that of the current delivery."""
    span = queue.process(queue.send(joins=Joined(id="g", size=2, trace_id=5)))
    assert [link.context.trace_id for link in span.links] == [5, 5]


@pytest.mark.parametrize("group", ["g", None])
def test_joined_group_without_id_uses_id_of_the_receiver(queue: Queue, group: str | None) -> None:
    """Members are found by the receiver's group id; without one there are no links."""
    carriers = send_members(queue, "g", 2)
    last = queue.start(carriers[-1])
    body = queue.send(joins=Joined(id="", size=2))
    queue.telemetry.end_process(last, SUCCEEDED)
    links = queue.process(body, joins=group).links
    sent = [span.context.span_id for span in queue.spans("send")[:2]]
    assert [link.context.span_id for link in links] == (sent if group else [])


def test_joined_group_of_thirty_gives_twenty_links(queue: Queue) -> None:
    """Also with the attempt before among them."""
    carriers = send_members(queue, "g", 30)
    last = queue.start(carriers[-1])
    body = queue.send(joins=Joined(id="g", size=30))
    queue.telemetry.end_process(last, SUCCEEDED)
    attempt = queue.start(body)
    again: dict[str, object] = {}
    queue.telemetry.requeue(attempt, again)
    queue.telemetry.end_process(attempt, Ending(outcome=Outcome.RETRY))
    first, second = queue.spans("process")[-1], queue.process(again, attempt=2)
    assert len(first.links) == len(second.links) == 20
    assert second.links[0].context.span_id == first.context.span_id


def test_ids_of_members_are_not_used_again(queue: Queue) -> None:
    """Neither the chosen span id nor the trace of a member is on a later span."""
    with queue.tracer_provider.get_tracer("app").start_as_current_span("request"):
        send_members(queue, "g", 2)
    queue.send(id="next")
    queue.process({})
    spans = queue.spans()
    assert len({span.context.span_id for span in spans}) == len(spans)
    request = next(span for span in spans if span.name == "request")
    later = [span for span in spans if span.start_time > request.end_time or span.parent is None]
    assert len({span.context.trace_id for span in later}) == 3


def test_members_without_index_have_different_ids(queue: Queue) -> None:
    """Several messages of a group without an order have ids of their own."""
    for number in range(3):
        queue.send(id=f"m{number}", membership=Membership(id="g", index=None))
    assert len({span.context.span_id for span in queue.spans()}) == 3


def test_chosen_span_id_is_used_once(queue: Queue) -> None:
    """The id chosen for a process span is that of one span only."""
    carrier = queue.send()
    span = queue.process(carrier, span_id=0xABC)
    other = queue.process(carrier)
    assert span.context.span_id == 0xABC
    assert other.context.span_id not in (0xABC, 0)


def test_unsampled_span_uses_up_its_chosen_id(queue: Queue) -> None:
    """A span that is not recorded uses its id up, too."""
    unsampled = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}
    operation = queue.start(unsampled, span_id=0xABC)
    queue.telemetry.end_process(operation, SUCCEEDED)
    assert operation.span.get_span_context().span_id == 0xABC
    assert queue.process({}).context.span_id != 0xABC


class FailingSampler(Sampler):
    """A sampler of a user that raises until it is repaired."""

    is_broken = True

    def should_sample(self, *arguments: Any, **options: Any) -> SamplingResult:
        if self.is_broken:
            raise RuntimeError("no")
        return ALWAYS_ON.should_sample(*arguments, **options)

    def get_description(self) -> str:
        return "failing"


def test_failed_span_start_keeps_no_chosen_id(queue: Queue) -> None:
    """An id chosen for a span that never started is not that of the next one."""
    sampler = FailingSampler()
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(queue.exporter))
    queue = dataclasses.replace(queue, tracer_provider=provider).sibling()
    queue.telemetry.end_process(queue.start({}, span_id=0xABC), SUCCEEDED)
    queue.send(membership=Membership(id="g", index=0))
    sampler.is_broken = False
    queue.send()
    queue.process({})
    send, process = queue.spans()
    assert process.context.span_id != 0xABC
    assert send.context.trace_id != process.context.trace_id


@pytest.mark.parametrize("provider", [NoOpTracerProvider(), ProxyTracerProvider()])
def test_chosen_id_with_api_tracer_is_ignored(queue: Queue, provider: object) -> None:
    """A tracer without an id generator takes no id; the verbs work, and metrics are recorded."""
    telemetry = QueueTelemetry(
        "celery", tracer_provider=provider, meter_provider=queue.meter_provider
    )
    quiet = Queue(
        telemetry,
        queue.clock,
        queue.exporter,
        queue.reader,
        queue.tracer_provider,
        queue.meter_provider,
    )
    carrier = quiet.send(membership=Membership(id="g", index=0), joins=Joined(id="h", size=2))
    operation = telemetry.start_process(Delivery(route=ROUTE, id="m", span_id=5), carrier)
    telemetry.end_process(operation, SUCCEEDED)
    assert quiet.spans() == []
    assert len(quiet.points("messaging.process.duration")) == 1


def test_chosen_ids_keep_the_trace_flags_of_the_sdk(queue: Queue) -> None:
    """The SDK asks the id generator whether its trace ids are random, and sets a flag."""
    queue.tracer_provider.get_tracer("app").start_span("request").end()
    request, process = queue.spans()[-1], queue.process({}, span_id=0xABC)
    assert process.context.trace_flags == request.context.trace_flags


def test_second_plugin_uses_the_wrapped_id_generator(queue: Queue) -> None:
    """Two plugins on one provider choose ids through one generator."""
    queue.send()
    other = queue.sibling("dramatiq")
    span = other.process({}, span_id=7)
    assert span.context.span_id == 7


def test_wrapped_id_generator_keeps_attributes_of_user(queue: Queue) -> None:
    """A user's own generator has the same attributes as before."""
    tracer = queue.tracer_provider.get_tracer("app")
    tracer.id_generator.region = "eu"
    assert ids.enable_chosen_ids(tracer)
    assert tracer.id_generator.region == "eu"
    assert tracer.id_generator.is_trace_id_random()
