"""How long a workflow took: once for each, from its first send to the end of its last step."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import celery
import pytest
from celery import chain, chord, group, signals
from celery.exceptions import Ignore

from tests.celery.conftest import Telemetry, memory_app, running, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from celery import Celery

METRIC = "taskqueue.workflow.duration"
NAMES = ("taskqueue.workflow.kind", "taskqueue.task.outcome", "taskqueue.task.name")

Ended = Counter[tuple[object, ...]]


class BoomError(Exception):
    """Raised by `fail`."""


@pytest.fixture(scope="module")
def shop(module_telemetry: Telemetry) -> Iterator[Celery]:  # noqa: ARG001 - comes first
    """A worker whose tasks accept any arguments."""
    app = memory_app()

    @app.task(shared=False, name="first")
    def first(*_: Any) -> int:
        time.sleep(0.2)
        return 1

    @app.task(shared=False, name="step")
    def step(*_: Any) -> int:
        return 1

    @app.task(shared=False, name="again", bind=True)
    def again(self: Any, *_: Any) -> int:
        if not self.request.retries:
            raise self.retry(countdown=0.05)
        return 1

    @app.task(shared=False, name="fail")
    def fail(*_: Any) -> None:
        raise BoomError

    @app.task(shared=False, name="ignore")
    def ignore(*_: Any) -> None:
        raise Ignore

    @app.task(shared=False, name="swap", bind=True)
    def swap(self: Any, *_: Any) -> None:
        self.replace(step.si())

    @app.task(shared=False, name="grow", bind=True)
    def grow(self: Any, *_: Any) -> None:
        self.replace(chord([step.si(), step.si()], step.si()))

    with running(app):
        yield app


@pytest.fixture
def ended(telemetry: Telemetry) -> Callable[[Any, int], Ended]:
    """Send a workflow, wait for its process spans, and return which durations were recorded."""

    def ended_with(flow: Any, runs: int) -> Ended:
        before = recorded(telemetry)
        telemetry.exporter.clear()
        flow.delay()
        processed = lambda: [s for s in telemetry.spans() if s.name.startswith("process")]  # noqa: E731
        until(lambda: len(processed()) >= runs, lambda: str([s.name for s in telemetry.spans()]))
        assert len(processed()) == runs
        return recorded(telemetry) - before

    return ended_with


def recorded(telemetry: Telemetry) -> Ended:
    """How many durations there are by kind, outcome and task."""
    return Counter(
        {
            tuple(point.attributes.get(name) for name in NAMES): point.count
            for point in telemetry.points(METRIC)
        }
    )


@pytest.fixture
def t(shop: Celery) -> Any:
    """The tasks as attributes."""
    return type("Tasks", (), {**shop.tasks})


def test_chain_is_recorded_once_from_its_first_send(
    telemetry: Telemetry, t: Any, ended: Callable[[Any, int], Ended]
) -> None:
    """With the name of its first task, the queue, and a time that covers all steps."""
    found = ended(chain(t.first.si(), t.again.si(), t.step.si()), 4)
    assert found == {("chain", "success", "first"): 1}
    (point,) = (each for each in telemetry.points(METRIC) if each.attributes[NAMES[2]] == "first")
    assert 0.25 <= point.sum < 60
    assert point.attributes["messaging.destination.name"].startswith("shop-")
    assert point.attributes["messaging.system"] == "memory"
    assert len(point.attributes) == 5


@pytest.mark.parametrize(
    ("flow", "runs", "outcome"),
    [
        (lambda t: chain(t.step.si(), t.fail.si(), t.step.si()), 2, "failure"),
        (lambda t: chain(t.step.si(), t.ignore.si(), t.step.si()), 2, "ignored"),
        (lambda t: chain(t.step.si(), t.step.si(), t.fail.si()), 3, "failure"),
        (lambda t: chain(t.step.si(), t.swap.si(), t.step.si()), 4, "success"),
        (lambda t: chain(t.step.si(), t.grow.si(), t.step.si()), 6, "success"),
        (lambda t: chain(t.step.si(), t.step.si(), t.swap.si()), 4, "success"),
        (lambda t: chain(t.step.si(), t.step.si().set(link=t.fail.si())), 3, "success"),
    ],
)
def test_chain_ends_with_its_last_or_its_failing_step(
    t: Any, ended: Callable[[Any, int], Ended], flow: Any, runs: int, outcome: str
) -> None:
    """Not with a step that another one takes the place of, and a callback is no step."""
    assert ended(flow(t), runs) == {("chain", outcome, "step"): 1}


@pytest.mark.parametrize(
    ("flow", "runs", "expected"),
    [
        (lambda t: chord([t.step.si(), t.first.si()], t.again.si()), 4, ("chord", "success")),
        (lambda t: chord([t.step.si(), t.fail.si()], t.first.si()), 2, ("chord", "failure")),
        (lambda t: chord([t.step.si(), t.fail.si(), t.fail.si()], t.first.si()), 3, None),
        (lambda t: chord([t.step.si(), t.step.si()], t.fail.si()), 3, ("chord", "failure")),
        (lambda t: chord([t.step.si(), t.swap.si()], t.first.si()), 4, ("chord", "success")),
        (lambda t: chord([t.step.si(), t.step.si()], t.swap.si()), 4, ("chord", "success")),
    ],
)
def test_chord_ends_with_its_body_or_when_celery_gives_it_up(
    t: Any, ended: Callable[[Any, int], Ended], flow: Any, runs: int, expected: Any
) -> None:
    """Once, however many members fail, and its header alone is not the end."""
    kind, outcome = expected or ("chord", "failure")
    assert ended(flow(t), runs) == {(kind, outcome, "step"): 1}


def test_chain_of_groups_and_steps_is_one_chain(t: Any, ended: Callable[[Any, int], Ended]) -> None:
    """A group in the middle, and chains in a header, are parts of the whole."""
    middle = chain(t.first.si(), group(t.step.si(), t.step.si()), t.step.si(), t.step.si())
    assert ended(middle, 5) == {("chain", "success", "first"): 1}
    chains = [chain(t.step.si(), t.step.si()), chain(t.step.si(), t.step.si())]
    # Before 5.7, Celery does not tell the body that it is one.
    kind = "chord" if celery.VERSION >= (5, 7) else "chain"
    assert ended(chord(chains, t.first.si()), 5) == {(kind, "success", "step"): 1}
    broken = chain(t.first.si(), group(t.step.si(), t.fail.si()), t.step.si())
    assert ended(broken, 3) == {("chain", "failure", "first"): 1}
    in_header = [chain(t.fail.si(), t.step.si()), t.step.si()]
    assert sum(ended(chord(in_header, t.first.si()), 2).values()) == 1


@pytest.mark.parametrize(
    ("flow", "runs"),
    [
        (lambda t: group(t.step.si(), t.fail.si()), 2),
        (lambda t: chain(t.step.si(), group(t.step.si(), t.fail.si())), 3),
        (lambda t: t.step.si().set(link=[t.step.si(), t.step.si()]), 3),
        (lambda t: t.swap.si(), 2),
        (lambda t: t.again.si(), 2),
    ],
)
def test_nothing_is_recorded_where_nobody_sees_an_end(
    t: Any, ended: Callable[[Any, int], Ended], flow: Any, runs: int
) -> None:
    """Celery does not count the members of a group; a single task is no workflow."""
    assert not ended(flow(t), runs)


def test_chain_in_group_is_a_workflow_of_its_own(
    t: Any, ended: Callable[[Any, int], Ended]
) -> None:
    """The end of the group is not known, that of the chain is."""
    flow = group(chain(t.step.si(), t.step.si()), chain(t.step.si(), t.fail.si()))
    assert ended(flow, 4) == {("chain", "success", "step"): 1, ("chain", "failure", "step"): 1}


def test_message_outside_of_workflow_carries_no_start(t: Any) -> None:
    """Nor does the first message of a workflow: it costs nothing there."""
    seen: list[tuple[str, str]] = []

    def look(headers: dict[str, Any], **_: Any) -> None:
        seen.append((headers["task"], headers["otq"]))

    signals.before_task_publish.connect(look)
    try:
        t.step.delay()
        chain(t.swap.si(), t.step.si()).delay().get(timeout=60, interval=0.01)
        until(lambda: len(seen) == 4)
    finally:
        signals.before_task_publish.disconnect(look)
    starts = [any(part[:1] in "bB" for part in otq.split(";")[1:]) for _, otq in seen]
    assert starts == [False, False, True, True]


def test_chord_that_celery_polls_ends_with_its_body_or_its_failure(
    telemetry: Telemetry, tmp_path: Path
) -> None:
    """What polls is no step of it; the first task is not known there, except in a chain."""
    app = memory_app(result_chord_retry_interval=0.05)
    app.conf.result_backend = f"file://{tmp_path}"

    @app.task(shared=False, name="polled")
    def polled(*_: Any) -> int:
        return 1

    @app.task(shared=False, name="broken")
    def broken(*_: Any) -> None:
        raise BoomError

    header = [polled.si(), polled.si()]
    before = recorded(telemetry)
    with running(app):
        chord(header, polled.si()).delay()
        chord([polled.si(), broken.si()], polled.si()).delay()
        chain(polled.si(), group(header), polled.si()).delay()
        until(lambda: (recorded(telemetry) - before).total() >= 3)
    assert recorded(telemetry) - before == {
        ("chord", "success", None): 1,
        ("chord", "failure", None): 1,
        ("chain", "success", "polled"): 1,
    }
