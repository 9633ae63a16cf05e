"""Workflows, callbacks and beat on real brokers: one trace each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_queue_plugins.cli.received import ReceivedSpan
    from tests.brokers.harness import Lab, Producer

KIND, ID, STEP = (f"taskqueue.workflow.{name}" for name in ("kind", "id", "step"))
TRIGGER = "taskqueue.task.trigger"


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Iterator[Producer]:
    """A worker, and a producer of workflows."""
    app = lab.module("tests.brokers.apps.celery_flows")
    lab.celery(app, concurrency=2)
    yield lab.producer(app)
    lab.close()


def named(spans: list[ReceivedSpan], name: str) -> list[ReceivedSpan]:
    """Return the spans of that name."""
    return [span for span in spans if span.name == name]


def linked(span: ReceivedSpan) -> list[str]:
    """Return the span ids that a span links to."""
    return [link.span_id for link in span.links]


def parents_exist(spans: list[ReceivedSpan], caller: str) -> bool:
    """Return whether every parent is the caller's span or one that arrived."""
    return {span.parent_id for span in spans} <= {span.span_id for span in spans} | {caller}


def test_chain_is_one_trace_with_numbered_steps(shop: Producer, lab: Lab) -> None:
    """Each step is sent inside the one before, with kind, id and step."""
    sent = shop.run("result = chain(add.s(1, 1), add.s(1), add.s(1)).delay().id")
    spans = lab.receiver.expect_trace(sent.trace_id, 6)
    sends, steps = named(spans, "send add"), named(spans, "process add")
    assert [span.parent_id for span in sends] == [sent.span_id, *[s.span_id for s in steps[:2]]]
    assert [span.attributes[STEP] for span in steps] == [0, 1, 2]
    assert {(s.attributes[KIND], s.attributes[ID]) for s in steps} == {("chain", sent.result)}
    assert {span.attributes[TRIGGER] for span in steps} == {"workflow"}


@pytest.mark.parametrize("caller", [True, False])
def test_chord_body_links_to_each_header_task(shop: Producer, lab: Lab, caller: bool) -> None:
    """With and without a span around the call."""
    code = """
        pending = chord([add.s(n, n) for n in range(4)], total.s()).delay()
        result = [pending.id, pending.get(timeout=60)]
    """
    sent = shop.run(code, caller=caller)
    body = lab.receiver.expect_span("process total", messaging__message__id=sent.result[0])
    spans = lab.receiver.expect_trace(body.trace_id, 10)
    assert sent.result[1] == 12
    assert sorted(linked(body)) == sorted(span.span_id for span in named(spans, "send add"))
    assert body.attributes[KIND] == "chord"
    assert sorted(s.attributes[STEP] for s in named(spans, "process add")) == [0, 1, 2, 3]


def test_group_with_chains_sent_outside_of_span_is_one_trace(shop: Producer, lab: Lab) -> None:
    """All that is sent at once shares a trace."""
    code = "result = group(chain(add.s(1, 1), add.s(1)), add.s(2, 2), add.s(3, 3)).delay()[0].id"
    sent = shop.run(code, caller=False)
    last = lab.receiver.expect_span("process add", messaging__message__id=sent.result)
    spans = lab.receiver.expect_trace(last.trace_id, 8)
    assert len({span.span_id for span in spans}) == 8


def test_nested_workflow_with_replaced_tasks_is_one_trace(shop: Producer, lab: Lab) -> None:
    """A chord of chains, of replaced tasks, in a chain: every parent arrived."""
    code = """
        header = [chain(add.s(1, 1), add.s(1)), swap.s(2), add.s(3, 3)]
        pending = chain(chord(header, total.s()), add.s(1)).delay()
        result = pending.get(timeout=60)
    """
    sent = shop.run(code)
    spans = lab.receiver.expect_trace(sent.trace_id, 14)
    assert sent.result == 3 + 3 + 6 + 1
    assert parents_exist(spans, sent.span_id)
    (body,) = named(spans, "process total")
    assert set(linked(body)) <= {span.span_id for span in spans}
    assert len(linked(body)) == 3


def test_chord_body_of_large_chord_has_twenty_links(shop: Producer, lab: Lab) -> None:
    """A span has at most 20 links."""
    code = """
        result = chord([add.s(n, 0) for n in range(30)], total.s()).delay().get(timeout=20)
    """
    sent = shop.run(code, timeout=30)
    spans = lab.receiver.expect_trace(sent.trace_id, 62)
    (body,) = named(spans, "process total")
    assert len(body.links) == 20
    assert set(linked(body)) <= {span.span_id for span in spans}


def test_callbacks_are_sent_inside_delivery_they_follow(shop: Producer, lab: Lab) -> None:
    """`link`, an errback that is called, and one that is sent."""
    sent = shop.run("add.apply_async(link=add.s(5))")
    first, then = named(lab.receiver.expect_trace(sent.trace_id, 4), "process add")
    assert (first.attributes[TRIGGER], then.attributes[TRIGGER]) == ("call", "callback")
    sent = shop.run("fail.apply_async(link_error=[mourn.s(), note.s()])")
    spans = lab.receiver.expect_trace(sent.trace_id, 5)
    (failed,) = named(spans, "process fail")
    (called,) = named(spans, "process mourn")
    (noted,) = named(spans, "process note")
    assert called.parent_id == named(spans, "send note")[0].parent_id == failed.span_id
    assert called.attributes[TRIGGER] == noted.attributes[TRIGGER] == "callback"


def test_errbacks_of_killed_task_are_children_of_its_span(shop: Producer, lab: Lab) -> None:
    """The main process calls and sends them before it knows that the child is gone."""
    sent = shop.run("sleep.apply_async(link_error=[mourn.s(), note.s()])")
    killed = lab.receiver.expect_span("process sleep", trace_id=sent.trace_id)
    spans = lab.receiver.trace(sent.trace_id)
    called, noted = named(spans, "process mourn"), named(spans, "send note")
    assert killed.attributes["taskqueue.task.outcome"] == "timeout"
    assert called
    assert noted
    assert {span.parent_id for span in (*called, *noted)} == {killed.span_id}


def test_chord_whose_header_fails_runs_errback_in_trace_of_workflow(
    shop: Producer, lab: Lab
) -> None:
    """The body never runs."""
    code = "chord([add.s(1, 1), fail.s()], total.s().on_error(mourn.s())).delay()"
    sent = shop.run(code)
    spans = lab.receiver.expect_trace(sent.trace_id, 5)
    assert len(named(spans, "process mourn")) == 1
    assert not named(spans, "send total")


def test_map_is_one_message_and_chunks_are_group(shop: Producer, lab: Lab) -> None:
    """Chunks are a group of maps."""
    sent = shop.run("add.starmap([(1, 1), (2, 2)]).delay()")
    lab.receiver.expect_trace(sent.trace_id, 2)
    sent = shop.run("add.chunks([(n, n) for n in range(4)], 2).delay()")
    spans = lab.receiver.expect_trace(sent.trace_id, 4)
    assert len(named(spans, "process celery.starmap")) == 2


def test_beat_sends_trace_for_each_tick_with_trigger_schedule(own_lab: Lab) -> None:
    """What a scheduled task sends has another trigger."""
    app = own_lab.module("tests.brokers.apps.celery_flows")
    own_lab.celery(app, pool="solo")
    beat = own_lab.beat(app)
    received = own_lab.receiver
    received.until(lambda: len(named(received.spans(), "process tick")) >= 2, "two ticks")
    received.until(lambda: bool(named(received.spans(), "send elsewhere")), "an unknown task")
    beat.stop()
    ticks = named(received.spans(), "process tick")
    assert len({span.trace_id for span in ticks}) == len(ticks)
    for tick in ticks[:2]:
        spans = received.expect_trace(tick.trace_id, 4)
        assert [span.name for span in spans[:2]] == ["send tick", "process tick"]
        assert spans[0].service == "beat"
        assert not spans[0].parent_id
        assert tick.attributes[TRIGGER] == "schedule"
        assert named(spans, "process add")[0].attributes[TRIGGER] == "call"
    received.until(
        lambda: received.total("taskqueue.schedule.drift", taskqueue__task__name="tick") >= 2,
        "drift of two ticks",
    )
    assert not received.latest_points("taskqueue.schedule.drift", taskqueue__task__name="add")
