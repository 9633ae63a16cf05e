"""Workflows: one trace, and the place of each message in the workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import chain, chord, group
from opentelemetry import context

from tests.celery.conftest import Telemetry, ids, linked_ids, memory_app, parent_ids, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

KIND, ID, STEP = (f"taskqueue.workflow.{name}" for name in ("kind", "id", "step"))
TRIGGER = "taskqueue.task.trigger"


class BoomError(Exception):
    """Raised by `fail`."""


@pytest.fixture(scope="module")
def shop(module_telemetry: Telemetry) -> Iterator[Celery]:  # noqa: ARG001 - comes first
    """A worker with a few tasks, and the send side in the same process."""
    app = memory_app()

    @app.task(shared=False, name="add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(shared=False, name="total")
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    @app.task(shared=False, name="done")
    def done(*_: Any) -> str:
        return "done"

    @app.task(shared=False, name="fail")
    def fail(*_: Any) -> None:
        raise BoomError

    @app.task(shared=False, name="mourn")
    def mourn(request: Any, error: Any, traceback: Any) -> None:
        """Called inline: more than one argument."""

    @app.task(shared=False, name="mourn_badly")
    def mourn_badly(request: Any, error: Any, traceback: Any) -> None:  # noqa: ARG001
        raise RuntimeError

    @app.task(shared=False, name="note")
    def note(task_id: str) -> None:
        """Sent as a message: one argument."""

    @app.task(shared=False, name="swap", bind=True)
    def swap(self: Any, x: int) -> None:
        self.replace(add.s(x, 1))

    with running(app):
        yield app


def test_chain_is_one_trace_with_steps_inside_each_other(
    shop: Celery, telemetry: Telemetry
) -> None:
    """Step n+1 is sent inside step n; each has the kind, id and step."""
    add = shop.tasks["add"]
    result = chain(add.s(1, 1), add.s(1), add.s(1)).delay()
    assert result.get(timeout=60, interval=0.01) == 4
    spans = telemetry.expect(6)
    assert {ids(span)[0] for span in spans} == {ids(spans[0])[0]}
    sends, steps = telemetry.spans("send add"), telemetry.spans("process add")
    for before, send in zip(steps, sends[1:], strict=False):
        assert parent_ids(send) == ids(before)
    assert [span.attributes[STEP] for span in steps] == [0, 1, 2]
    assert {span.attributes[KIND] for span in steps} == {"chain"}
    assert {span.attributes[ID] for span in steps} == {result.id}
    assert {span.attributes[TRIGGER] for span in steps} == {"workflow"}


def test_group_without_current_span_is_one_trace(shop: Celery, telemetry: Telemetry) -> None:
    """The members share a trace id, although no span is current when they are sent."""
    add = shop.tasks["add"]
    result = group(add.s(n, n) for n in range(3)).delay()
    assert result.get(timeout=60, interval=0.01) == [0, 2, 4]
    spans = telemetry.expect(6)
    assert len({ids(span)[0] for span in spans}) == 1
    assert len({ids(span) for span in spans}) == 6
    assert all(parent_ids(span) is None for span in telemetry.spans("send add"))
    runs = telemetry.spans("process add")
    assert {(span.attributes[KIND], span.attributes[ID]) for span in runs} == {("group", result.id)}
    assert sorted(span.attributes[STEP] for span in runs) == [0, 1, 2]


def test_two_groups_without_current_span_are_two_traces(shop: Celery, telemetry: Telemetry) -> None:
    """The trace of one group is not that of the next, nor of a plain message."""
    add = shop.tasks["add"]
    for _ in range(2):
        group(add.s(1, 1), add.s(2, 2)).delay().get(timeout=60, interval=0.01)
    add.delay(1, 1).get(timeout=60, interval=0.01)
    traces = [ids(span)[0] for span in telemetry.expect(5, "send add")]
    assert len(set(traces)) == 3


def test_nested_groups_have_unique_span_ids(shop: Celery, telemetry: Telemetry) -> None:
    """Celery numbers the members of an inner group anew."""
    add = shop.tasks["add"]
    group(group(add.s(1, 1), add.s(2, 2)), add.s(3, 3)).delay().get(timeout=60, interval=0.01)
    assert len({ids(span) for span in telemetry.expect(6)}) == 6


@pytest.mark.parametrize("immutable", [False, True])
def test_chord_body_links_to_each_header_task(
    shop: Celery, telemetry: Telemetry, immutable: bool
) -> None:
    """The body is sent inside the header task that ended last, and links to all send spans."""
    add, done = shop.tasks["add"], shop.tasks["done"]
    body = done.si() if immutable else done.s()
    result = chord([add.s(n, n) for n in range(3)], body).delay()
    assert result.get(timeout=60, interval=0.01) == "done"
    spans = telemetry.expect(8)
    assert len({ids(span)[0] for span in spans}) == 1
    header, joined = telemetry.spans("send add"), telemetry.one("process done")
    ended = [ids(span) for span in telemetry.spans("process add")]
    assert parent_ids(telemetry.one("send done")) in ended
    assert linked_ids(joined) == [ids(s) for s in header]
    assert joined.attributes[KIND] == "chord"
    assert joined.attributes[ID] == result.parent.id
    assert joined.attributes[TRIGGER] == "workflow"
    assert sorted(s.attributes[STEP] for s in telemetry.spans("process add")) == [0, 1, 2]


def test_body_of_large_chord_links_to_twenty(shop: Celery, telemetry: Telemetry) -> None:
    """The number of links is limited."""
    add, total = shop.tasks["add"], shop.tasks["total"]
    with telemetry.tracer.start_as_current_span("caller"):
        result = chord([add.s(n, 0) for n in range(30)], total.s()).delay()
    assert result.get(timeout=60, interval=0.01) == sum(range(30))
    telemetry.expect(63)
    sent = {ids(span) for span in telemetry.spans("send add")}
    links = linked_ids(telemetry.one("process total"))
    assert len(links) == 20
    assert set(links) <= sent


def test_chord_body_of_chain_or_group_links_to_header(shop: Celery, telemetry: Telemetry) -> None:
    """Each message that starts because the header is complete links to it."""
    add, total, done = (shop.tasks[name] for name in ("add", "total", "done"))
    header = [add.s(1, 1), add.s(2, 2)]
    chord(header, chain(total.s(), add.s(1))).delay().get(timeout=60, interval=0.01)
    telemetry.expect(8)
    assert len(linked_ids(telemetry.one("process total"))) == 2
    telemetry.exporter.clear()
    chord(header, group(done.s(), done.s())).delay().get(timeout=60, interval=0.01)
    telemetry.expect(8)
    assert [len(linked_ids(span)) for span in telemetry.spans("process done")] == [2, 2]


def test_chord_body_links_to_last_steps_of_chains_in_header(
    shop: Celery, telemetry: Telemetry
) -> None:
    """Nested: every span is in the one trace, and every link is to a span that exists."""
    add, total = shop.tasks["add"], shop.tasks["total"]
    result = chord([chain(add.s(1, 1), add.s(1)), add.s(2, 2)], total.s()).delay()
    assert result.get(timeout=60, interval=0.01) == 7
    spans = telemetry.expect(8)
    assert len({ids(span) for span in spans}) == 8
    assert set(linked_ids(telemetry.one("process total"))) <= {ids(span) for span in spans}


def test_replaced_chord_members_have_own_span_ids(shop: Celery, telemetry: Telemetry) -> None:
    """A replacement has the place of the replaced one, but a span id of its own."""
    swap, add, total = (shop.tasks[name] for name in ("swap", "add", "total"))
    result = chord([swap.s(1), add.s(2, 2)], total.s()).delay()
    assert result.get(timeout=60, interval=0.01) == 6
    spans = telemetry.expect(8)
    assert len({ids(span) for span in spans}) == 8
    swapped = ids(telemetry.one("process swap"))
    (add_sent,) = (span for span in telemetry.spans("send add") if parent_ids(span) != swapped)
    links = linked_ids(telemetry.one("process total"))
    assert links == [ids(telemetry.one("send swap")), ids(add_sent)]


def test_callback_is_sent_inside_its_task(shop: Celery, telemetry: Telemetry) -> None:
    """`link`: trigger callback, in the trace of the task that succeeded."""
    add, done = shop.tasks["add"], shop.tasks["done"]
    add.apply_async((1, 1), link=done.s())
    telemetry.expect(4)
    callback = telemetry.one("process done")
    assert parent_ids(telemetry.one("send done")) == ids(telemetry.one("process add"))
    assert callback.attributes[TRIGGER] == "callback"
    assert KIND not in callback.attributes
    assert telemetry.one("process add").attributes[TRIGGER] == "call"


def test_called_errback_is_span_inside_failed_task(shop: Celery, telemetry: Telemetry) -> None:
    """With more than one argument Celery calls it as a function, without a message."""
    shop.tasks["fail"].apply_async(link_error=shop.tasks["mourn"].s())
    telemetry.expect(3)
    failed, errback = telemetry.one("process fail"), telemetry.one("process mourn")
    assert parent_ids(errback) == ids(failed)
    assert errback.attributes[TRIGGER] == "callback"
    assert errback.attributes["taskqueue.task.outcome"] == "success"


def test_errback_that_raises_is_failure(shop: Celery, telemetry: Telemetry) -> None:
    """Celery ignores what it raises; its span does not."""
    shop.tasks["fail"].apply_async(link_error=shop.tasks["mourn_badly"].s())
    telemetry.expect(3)
    errback = telemetry.one("process mourn_badly")
    assert errback.attributes["taskqueue.task.outcome"] == "failure"
    assert errback.attributes["error.type"] == "RuntimeError"


def test_sent_errback_is_message_inside_failed_task(shop: Celery, telemetry: Telemetry) -> None:
    """An errback with one argument is a message as others, sent inside the failed task."""
    shop.tasks["fail"].apply_async(link_error=shop.tasks["note"].s())
    telemetry.expect(4)
    assert telemetry.one("process note").attributes[TRIGGER] == "callback"
    assert parent_ids(telemetry.one("send note")) == ids(telemetry.one("process fail"))


@pytest.mark.parametrize("count", [1, 2])
def test_errbacks_sent_as_group_have_no_group(
    shop: Celery, telemetry: Telemetry, count: int
) -> None:
    """Celery makes a group even of a single errback with one argument; the user has made none."""
    note = shop.tasks["note"]
    shop.tasks["fail"].apply_async(link_error=[note.s() for _ in range(count)])
    telemetry.expect(2 + 2 * count)
    for errback in telemetry.spans("process note"):
        assert errback.attributes[TRIGGER] == "callback"
        assert not {KIND, ID, STEP} & errback.attributes.keys()


def test_callbacks_have_group_only_if_written_as_group(shop: Celery, telemetry: Telemetry) -> None:
    """Celery makes a group of several callbacks, too; only a group of the user is one."""
    add, done = shop.tasks["add"], shop.tasks["done"]
    add.apply_async((1, 1), link=[done.s(), done.s()])
    telemetry.expect(6)
    for callback in telemetry.spans("process done"):
        assert callback.attributes[TRIGGER] == "callback"
        assert KIND not in callback.attributes
    telemetry.exporter.clear()
    add.apply_async((1, 1), link=group(done.s(), done.s()))
    telemetry.expect(6)
    callbacks = telemetry.spans("process done")
    assert [span.attributes[KIND] for span in callbacks] == ["group", "group"]
    assert sorted(span.attributes[STEP] for span in callbacks) == [0, 1]


def test_failed_chord_header_calls_errback_of_body_in_trace(
    shop: Celery, telemetry: Telemetry
) -> None:
    """The body never runs; its errback runs in the trace of the workflow."""
    fail, add, total, mourn = (shop.tasks[name] for name in ("fail", "add", "total", "mourn"))
    chord([fail.s(), add.s(1, 1)], total.s().on_error(mourn.s())).delay()
    errback = telemetry.one("process mourn")
    until(lambda: len(telemetry.spans()) == 5)
    assert {ids(span)[0] for span in telemetry.spans()} == {ids(errback)[0]}


def test_starmap_is_one_message_and_chunks_are_group(shop: Celery, telemetry: Telemetry) -> None:
    """A map is one message; chunks are a group of them."""
    add = shop.tasks["add"]
    assert add.starmap([(1, 1), (2, 2)]).delay().get(timeout=60, interval=0.01) == [2, 4]
    telemetry.expect(2)
    telemetry.one("process celery.starmap")
    telemetry.exporter.clear()
    add.chunks([(n, n) for n in range(4)], 2).delay().get(timeout=60, interval=0.01)
    spans = telemetry.expect(4)
    assert len({ids(span)[0] for span in spans}) == 1


def test_chain_of_groups_and_tasks_is_one_trace(shop: Celery, telemetry: Telemetry) -> None:
    """Chains with a group become chords: one trace, and no context is left behind."""
    add, total = shop.tasks["add"], shop.tasks["total"]
    flow = chain(add.s(1, 1), group(add.s(1), add.s(2)), total.s(), add.s(3))
    assert flow.delay().get(timeout=60, interval=0.01) == 10
    spans = telemetry.expect(10)
    assert len({ids(span)[0] for span in spans}) == 1
    assert len({ids(span) for span in spans}) == 10
    assert not context.get_current()
