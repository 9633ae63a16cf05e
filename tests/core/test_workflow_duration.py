"""How long a workflow took, by what its messages say, and with the name of its first task."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from otel_queue_plugins.core.messages import (
    SUCCEEDED,
    Ending,
    Message,
    Outcome,
    Workflow,
    WorkflowStart,
)
from otel_queue_plugins.core.metrics.workflows import start_of
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.outcomes import ERRORS, FINAL
from otel_queue_plugins.core.task_names import TaskNames, mark_of
from tests.core.conftest import ROUTE, Queue

METRIC = "taskqueue.workflow.duration"
FIRST, LAST = (Workflow(kind="chain", id="c1", step=number) for number in (0, 1))
SAME_MARK = ("shop.31c97c", "shop.0d352b")
OTHER = dataclasses.replace(ROUTE, task="shop.tasks.pack")


def recorded(queue: Queue) -> list[tuple[object, ...]]:
    """Kind, outcome, task and seconds of each duration."""
    return [
        (
            point.attributes["taskqueue.workflow.kind"],
            point.attributes["taskqueue.task.outcome"],
            point.attributes.get("taskqueue.task.name"),
            point.sum,
        )
        for point in queue.points(METRIC)
    ]


def send_next(queue: Queue, before: ProcessOperation, **facts: Any) -> dict[str, object]:
    """Send the next step inside the one before."""
    facts = {"route": OTHER, "workflow": LAST, "start": start_of(before)} | facts
    carrier: dict[str, object] = {}
    queue.telemetry.end_send(queue.telemetry.start_send(Message(id="m2", **facts), carrier))
    return carrier


def test_chain_lasts_from_its_first_enqueue_through_retries(queue: Queue) -> None:
    """The last step records it, with the name of the first task as that process knows it."""
    queue.telemetry.observe_task_names(lambda: [ROUTE.task, OTHER.task])
    again: dict[str, object] = {}
    first = queue.start(queue.send(workflow=FIRST), part="step")
    queue.clock.advance(1)
    queue.telemetry.requeue(first, again)
    queue.telemetry.end_process(first, Ending(outcome=Outcome.RETRY))
    queue.clock.advance(2)
    first = queue.start(again, part="step", attempt=2)
    carrier = send_next(queue, first)
    queue.telemetry.end_process(first, SUCCEEDED)
    assert recorded(queue) == []
    queue.clock.advance(3)
    last = queue.start(carrier, route=OTHER)
    queue.telemetry.requeue(last, again)
    queue.telemetry.end_process(last, Ending(outcome=Outcome.RETRY))
    queue.process(again, route=OTHER, attempt=2, takes=4)
    assert queue.exemplars()[METRIC] == {queue.spans("process")[-1].context.span_id}
    assert recorded(queue) == [("chain", "success", ROUTE.task, pytest.approx(10))]


@pytest.mark.parametrize("outcome", sorted(Outcome))
def test_chain_ends_at_any_final_outcome_that_no_step_follows(
    queue: Queue, outcome: Outcome
) -> None:
    """A step that succeeds is followed by others, and an attempt that is not final is no end."""
    queue.process(queue.send(workflow=FIRST), Ending(outcome=outcome), part="step")
    unknown = {Outcome.UNKNOWN_TASK, Outcome.UNDECODABLE}
    task = "_OTHER" if outcome in unknown else ROUTE.task
    ended = outcome in FINAL and outcome is not Outcome.SUCCESS
    assert recorded(queue) == ([("chain", outcome.value, task, 0)] if ended else [])


@pytest.mark.parametrize("names", [[], [OTHER.task], [ROUTE.task, ROUTE.task + "\ud800"]])
def test_first_task_without_known_name_has_none(queue: Queue, names: list[str]) -> None:
    """Only what this process knows is named. A name that is no text does no harm."""
    queue.telemetry.observe_task_names(lambda: names)
    first = queue.start(queue.send(workflow=FIRST), part="step")
    carrier = send_next(queue, first)
    queue.telemetry.end_process(first, SUCCEEDED)
    queue.process(carrier, route=OTHER)
    expected = ROUTE.task if ROUTE.task in names else None
    assert [point[2] for point in recorded(queue)] == [expected]


@pytest.mark.parametrize(
    ("workflow", "facts"),
    [
        (LAST, {}),  # its sender did not say when the chain began
        (FIRST, {}),  # the only message, as far as it says
        (Workflow(kind="group", id="g1", step=1), {"part": "member"}),
        (Workflow(kind="group", id="g1"), {}),
        (Workflow(kind="chord", id="g1"), {}),
        (Workflow(kind="", id=""), {}),
        (Workflow(kind="made up", id="w1", step=0), {"part": "step"}),
        (None, {"part": "member"}),
        (None, {"workflow": Workflow(kind="chord", id="g1")}),
    ],
)
def test_message_that_does_not_end_a_known_workflow_records_nothing(
    queue: Queue, workflow: Workflow | None, facts: dict[str, Any]
) -> None:
    """Where the start or the end is not known there is no duration."""
    queue.process(queue.send(workflow=workflow), **facts)
    queue.process({}, workflow=FIRST, part="step")  # from a sender without this package
    assert recorded(queue) == []


def test_body_of_chord_ends_it_with_the_start_of_its_header(queue: Queue) -> None:
    """The framework knows what it is; the envelope needs to have the start only."""
    header = queue.start(queue.send(), part="member")
    queue.clock.advance(5)
    carrier = send_next(queue, header, workflow=None, route=ROUTE)
    assert str(carrier["otq"]).endswith(";b1388")
    queue.telemetry.end_process(header, SUCCEEDED)
    queue.process(carrier, workflow=Workflow(kind="chord", id="g1"))
    assert recorded(queue) == [("chord", "success", ROUTE.task, pytest.approx(5))]


@pytest.mark.parametrize("outcome", sorted(Outcome))
def test_workflow_that_cannot_go_on_ends_with_error(queue: Queue, outcome: Outcome) -> None:
    """Also where the delivery that finds it out has not failed itself."""
    operation = queue.start(queue.send(), part="member")
    operation.broken_workflow = "chord"
    queue.telemetry.end_process(operation, Ending(outcome=outcome))
    (found,) = recorded(queue)
    assert found[:2] == ("chord", outcome.value if outcome in ERRORS else "failure")


def test_replaced_step_is_no_end_unless_it_fails(queue: Queue) -> None:
    """What takes its place goes on."""
    for outcome in (Outcome.IGNORED, Outcome.FAILURE):
        operation = queue.start(queue.send(workflow=FIRST), part="step")
        operation.was_replaced = True
        queue.telemetry.end_process(operation, Ending(outcome=outcome))
    assert [found[1] for found in recorded(queue)] == ["failure"]


def test_clock_that_goes_back_gives_no_negative_duration(queue: Queue) -> None:
    """The clocks of two machines may disagree."""
    start = WorkflowStart(queue.clock() / 1e9 + 60, mark_of(ROUTE.task))
    queue.process(queue.send(workflow=LAST, start=start))
    assert [found[3] for found in recorded(queue)] == [0]


def test_delivery_without_envelope_has_no_start() -> None:
    """Its sender does not have this package."""
    assert start_of(ProcessOperation()) is None


def test_names_with_one_mark_are_no_name_and_marks_are_bounded() -> None:
    """A name that may be wrong is none. A sender may make up any number of marks."""
    names, calls = TaskNames(), []

    def source() -> list[str]:
        calls.append(1)
        return ["a", *SAME_MARK]

    names.sources.append(source)
    assert mark_of(SAME_MARK[0]) == mark_of(SAME_MARK[1])
    assert names.find(mark_of("a")) == "a"
    assert names.find(mark_of(SAME_MARK[0])) is None
    assert names.find(mark_of(SAME_MARK[0])) is None
    assert len(calls) == 2
    for number in range(5000):
        names.find(f"{number:04}")
    assert len(calls) == 4096
