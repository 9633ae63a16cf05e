"""Ids that two processes agree on: members of a group, and deliveries that two may record."""

from __future__ import annotations

import pytest
from opentelemetry.trace import NoOpTracerProvider, ProxyTracerProvider

from otel_queue_plugins.core.messages import (
    SUCCEEDED,
    Delivery,
    Ending,
    Joined,
    Membership,
    Outcome,
)
from otel_queue_plugins.core.spans import ids
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
def test_what_joins_a_group_links_to_each_member(queue: Queue, group: str, traced: bool) -> None:
    """The body of a chord carries no list, and still links to the very spans of its header."""
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


def test_a_join_without_a_trace_links_to_nobody() -> None:
    """Where nobody knows the trace of the members, no link is made up."""
    assert list(ids.member_contexts(Joined(id="g", size=3))) == []


def test_a_join_outside_of_a_delivery_may_name_its_trace(queue: Queue) -> None:
    """The trace given with the join wins over that of the delivery in progress."""
    span = queue.process(queue.send(joins=Joined(id="g", size=2, trace_id=5)))
    assert [link.context.trace_id for link in span.links] == [5, 5]


@pytest.mark.parametrize("known", ["g", None])
def test_a_group_that_the_receiver_knows_is_not_named_on_the_way(
    queue: Queue, known: str | None
) -> None:
    """Its members are found all the same; a receiver that does not know it makes none up."""
    carriers = send_members(queue, "g", 2)
    last = queue.start(carriers[-1])
    body = queue.send(joins=Joined(id="", size=2))
    queue.telemetry.end_process(last, SUCCEEDED)
    links = queue.process(body, joins=known).links
    sent = [span.context.span_id for span in queue.spans("send")[:2]]
    assert [link.context.span_id for link in links] == (sent if known else [])


def test_links_are_at_most_twenty(queue: Queue) -> None:
    """However many were joined, and with the attempt before among them."""
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


def test_the_ids_of_members_are_theirs_alone(queue: Queue) -> None:
    """Neither the chosen span id nor the trace of a member shows on a span that comes later."""
    with queue.tracer_provider.get_tracer("app").start_as_current_span("request"):
        send_members(queue, "g", 2)
    queue.send(id="next")
    queue.process({})
    spans = queue.spans()
    assert len({span.context.span_id for span in spans}) == len(spans)
    request = next(span for span in spans if span.name == "request")
    later = [span for span in spans if span.start_time > request.end_time or span.parent is None]
    assert len({span.context.trace_id for span in later}) == 3


def test_members_without_a_place_are_not_alike(queue: Queue) -> None:
    """Several messages of a group whose order nobody knows have ids of their own."""
    for number in range(3):
        queue.send(id=f"m{number}", membership=Membership(id="g", index=None))
    assert len({span.context.span_id for span in queue.spans()}) == 3


def test_two_processes_write_the_same_span(queue: Queue) -> None:
    """The id chosen for a process span is used, once."""
    carrier = queue.send()
    span = queue.process(carrier, span_id=0xABC)
    other = queue.process(carrier)
    assert span.context.span_id == 0xABC
    assert other.context.span_id not in (0xABC, 0)


def test_ids_chosen_for_unsampled_spans_are_not_kept(queue: Queue) -> None:
    """A span that is not recorded uses its id up, too."""
    unsampled = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}
    operation = queue.start(unsampled, span_id=0xABC)
    queue.telemetry.end_process(operation, SUCCEEDED)
    assert operation.span.get_span_context().span_id == 0xABC
    assert queue.process({}).context.span_id != 0xABC


class FailingSampler:
    """A sampler of a user that raises."""

    def should_sample(self, *_: object, **__: object) -> None:
        raise RuntimeError("no")


def test_a_start_that_fails_keeps_no_id(queue: Queue) -> None:
    """What was chosen for a span that never was is not given to the next."""
    queue.telemetry.connect()
    tracer = queue.telemetry._connection.tracer
    sampler, tracer.sampler = tracer.sampler, FailingSampler()
    queue.telemetry.end_process(queue.start({}, span_id=0xABC), SUCCEEDED)
    queue.send(membership=Membership(id="g", index=0))
    tracer.sampler = sampler
    queue.send()
    queue.process({})
    send, process = queue.spans()
    assert process.context.span_id != 0xABC
    assert send.context.trace_id != process.context.trace_id


@pytest.mark.parametrize("provider", [NoOpTracerProvider(), ProxyTracerProvider()])
def test_without_an_sdk_ids_are_nobodys(queue: Queue, provider: object) -> None:
    """A tracer that makes no ids takes none; the verbs work, and metrics are recorded."""
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


def test_other_powers_of_an_id_generator_stay(queue: Queue) -> None:
    """Samplers and exporters that look at the generator find what it has."""
    queue.telemetry.connect()
    generator = queue.telemetry._connection.tracer.id_generator
    assert generator.is_trace_id_random() is True


def test_a_second_plugin_wraps_once(queue: Queue) -> None:
    """Two plugins on one provider choose ids through one generator."""
    queue.send()
    other = queue.sibling("dramatiq")
    span = other.process({}, span_id=7)
    assert span.context.span_id == 7


def test_what_else_an_id_generator_has_is_still_there(queue: Queue) -> None:
    """A user's own generator stays what it is for whoever asks the tracer for it."""
    tracer = queue.tracer_provider.get_tracer("app")
    tracer.id_generator.region = "eu"
    assert ids.enable_chosen_ids(tracer)
    assert tracer.id_generator.region == "eu"
    assert tracer.id_generator.is_trace_id_random()
