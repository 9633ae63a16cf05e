"""The steps of chains that Celery rebuilds, and how many bytes a message carries for them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import celery
import pytest
from celery import chain, chord, group, signals

from tests.celery.conftest import Telemetry, memory_app, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery
    from celery.canvas import Signature

KIND, ID, STEP = (f"taskqueue.workflow.{name}" for name in ("kind", "id", "step"))
TRIGGER = "taskqueue.task.trigger"
MAX_BYTES = 120
MAX_BYTES_OF_START = 14

Flow = "Callable[[Task], Signature]"


@pytest.fixture(scope="module")
def shop(module_telemetry: Telemetry) -> Iterator[Celery]:  # noqa: ARG001 - comes first
    """A worker with a task that accepts any arguments and returns its name."""
    app = memory_app()

    @app.task(shared=False, name="step")
    def step(before: Any, label: str) -> str:  # noqa: ARG001 - chains hand it on
        return label

    @app.task(shared=False, name="swap", bind=True)
    def swap(self: Any, before: Any, label: str) -> None:
        self.replace(step.si(before, label))

    @app.task(shared=False, name="again", bind=True)
    def again(self: Any, before: Any, label: str) -> str:  # noqa: ARG001
        if not self.request.retries:
            raise self.retry(countdown=0.01)
        return label

    with running(app):
        yield app


def steps(telemetry: Telemetry, flow: Signature, spans: int) -> list[tuple[Any, ...]]:
    """Kind and step of every process span of `flow`, by start."""
    result = flow.delay()
    telemetry.expect(spans)
    result.get(timeout=60, interval=0.01)
    runs = [span for span in telemetry.spans() if span.name.startswith("process")]
    assert {span.attributes[TRIGGER] for span in runs} == {"workflow"}
    in_chain = [span.attributes for span in runs if span.attributes[KIND] == "chain"]
    assert {attributes[ID] for attributes in in_chain} == {result.id}
    return [(span.attributes[KIND], span.attributes.get(STEP)) for span in runs]


MEMBERS = [("chord", 0), ("chord", 1)]


def in_order(seen: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """`seen`, with the members of a group sorted, as they run concurrently."""
    return sorted(seen, key=lambda one: (one[0] != "chain", one[1]))


def test_group_in_chain_is_one_step(shop: Celery, telemetry: Telemetry) -> None:
    """Celery makes a chord of it; the steps after that count on."""
    step = shop.tasks["step"]
    members = group(step.s("b"), step.s("c"))
    flow = chain(step.s(0, "a"), members, step.s("d"), step.s("e"), step.s("f"))
    seen = steps(telemetry, flow, 12)
    assert in_order(seen) == [*[("chain", n) for n in (0, 2, 3, 4)], *MEMBERS]


def test_two_groups_in_chain_are_two_steps(shop: Celery, telemetry: Telemetry) -> None:
    """A chord whose body is a chord."""
    step = shop.tasks["step"]
    members = group(step.s("b"), step.s("c"))
    flow = chain(step.s(0, "a"), members, members, step.s("d"), step.s("e"))
    seen = steps(telemetry, flow, 14)
    assert in_order(seen) == [*[("chain", n) for n in (0, 3, 4)], *sorted(MEMBERS * 2)]


@pytest.mark.parametrize("written", ["as a chain", "as a chord"])
def test_chain_that_begins_with_group_counts_it(
    shop: Celery, telemetry: Telemetry, written: str
) -> None:
    """The header is the first step, in whichever way it is written."""
    step = shop.tasks["step"]
    header = [step.si(0, "a"), step.si(0, "b")]
    flow = {
        "as a chain": chain(group(header), step.s("c"), step.s("d")),
        "as a chord": chord(header, chain(step.s("c"), step.s("d"))),
    }[written]
    seen = steps(telemetry, flow, 8)
    assert in_order(seen) == [("chain", 1), ("chain", 2), *MEMBERS]


@pytest.mark.parametrize("last", [False, True], ids=["in between", "at the end"])
def test_replaced_step_keeps_its_number(shop: Celery, telemetry: Telemetry, last: bool) -> None:
    """The replacement is the same step."""
    step, swap = shop.tasks["step"], shop.tasks["swap"]
    flow = chain(step.si(0, "a"), swap.s("b"), *[] if last else [step.s("c")])
    seen = steps(telemetry, flow, 6 if last else 8)
    assert [number for _, number in seen] == ([0, 1, 1] if last else [0, 1, 1, 2])


def test_chain_as_callback_has_its_own_steps(shop: Celery, telemetry: Telemetry) -> None:
    """The chain that it is called from counts on."""
    step = shop.tasks["step"]
    callback = chain(step.s("x"), step.s("y"))
    flow = chain(step.si(0, "a"), step.s("b").set(link=callback), step.s("c"))
    result = flow.delay()
    telemetry.expect(10)
    counts: dict[Any, list[Any]] = {}
    for span in telemetry.spans("process step"):
        counts.setdefault(span.attributes[ID], []).append(span.attributes[STEP])
    assert counts.pop(result.id) == [0, 1, 2]
    assert list(counts.values()) == [[0, 1]]


def test_chain_of_one_is_no_chain(shop: Celery, telemetry: Telemetry) -> None:
    """Celery makes a plain task of it, so its span has no step."""
    result = chain(shop.tasks["step"].si(0, "a")).apply_async()
    telemetry.expect(2)
    attributes = telemetry.one("process step").attributes
    shown = {KIND: "chain", ID: result.id, STEP: 0}
    assert {name: attributes.get(name) for name in shown} in (shown, dict.fromkeys(shown))


def _chain(step: Any) -> Any:
    return chain(step.si(0, "a"), step.s("b"), step.s("c"))


def _chord(step: Any) -> Any:
    return chord([step.si(0, "a"), step.si(0, "b")], step.s("c"))


def _chord_in_chain(step: Any) -> Any:
    members = group(step.s("b"), step.s("c"))
    return chain(step.si(0, "a"), members, step.s("d"), step.s("e"))


def _callbacks(step: Any) -> Any:
    return step.si(0, "a").set(link=[step.s("b"), step.s("c")])


_NEEDS_GROUP_IN_BODY = pytest.mark.skipif(
    celery.VERSION < (5, 7), reason="Celery 5.3 does not tell the body of a chord its group"
)


@pytest.mark.parametrize(
    "flow",
    [
        _chain,
        pytest.param(_chord, marks=_NEEDS_GROUP_IN_BODY),
        pytest.param(_chord_in_chain, marks=_NEEDS_GROUP_IN_BODY),
        _callbacks,
    ],
)
@pytest.mark.parametrize("task", ["step", "again"])
def test_workflow_message_carries_at_most_120_bytes(
    shop: Celery, telemetry: Telemetry, flow: Any, task: str
) -> None:
    """In the JSON of any message of a workflow, retries among them, are at most 120 bytes of ours.

    Except one: the retry of a task that joins a group in the middle of a chain carries more. The
    start of the workflow, in messages that are not its first, comes on top.
    """
    sizes: list[int] = []
    starts: list[int] = []

    def weigh(headers: dict[str, Any], **_: Any) -> None:
        ours = {key: headers[key] for key in ("traceparent", "otq")}
        start = re.search(";[bB][^;]*", ours["otq"])
        starts.append(len(start[0]) if start else 0)
        sizes.append(len(json.dumps(ours)) - starts[-1])

    signals.before_task_publish.connect(weigh)
    try:
        flow(shop.tasks[task]).delay()
        sent = {_chain: 3, _chord: 3, _chord_in_chain: 5, _callbacks: 3}[flow]
        runs = sent * (2 if task == "again" else 1)
        telemetry.expect(runs, f"process {task}")
    finally:
        signals.before_task_publish.disconnect(weigh)
    assert len(sizes) == runs
    allowed = MAX_BYTES + 4 if (flow, task) == (_chord_in_chain, "again") else MAX_BYTES
    assert max(sizes) <= allowed
    assert max(starts) <= MAX_BYTES_OF_START
    assert starts[0] == 0
