"""How long a workflow took: once for each, from its first send to the end of its last step."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from dramatiq import Message, group, pipeline
from dramatiq.middleware import GroupCallbacks, Middleware

from tests.dramatiq.conftest import StubBackend
from tests.points import points_of

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from tests.dramatiq.conftest import Shop

METRIC = "taskqueue.workflow.duration"
NAMES = ("taskqueue.workflow.kind", "taskqueue.task.outcome", "taskqueue.task.name")


@pytest.fixture
def recorded(metric_reader: InMemoryMetricReader) -> Any:
    """How many durations there are by kind, outcome and task."""
    return lambda: {
        tuple(point.attributes.get(name) for name in NAMES): point.count
        for point in points_of(metric_reader, METRIC)
    }


@pytest.fixture(params=["first", "last"])
def t(shop: Shop, request: pytest.FixtureRequest) -> Any:
    """Actors as attributes: `first` takes a while, `again` is retried, `fail` fails for good."""
    shop.broker.add_middleware(GroupCallbacks(StubBackend()))
    (shop.instrument if request.param == "first" else shop.append)()
    tries: list[int] = []

    def again(*_: Any) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError

    actors = {
        "first": shop.actor(lambda *_: time.sleep(0.2), actor_name="first"),
        "step": shop.actor(lambda *_: None, actor_name="step"),
        "again": shop.actor(again, actor_name="again", min_backoff=50),
        "fail": shop.actor(lambda *_: 1 / 0, actor_name="fail", max_retries=0),
    }
    return type("Actors", (), actors)


def test_pipeline_is_recorded_once_from_its_first_send(
    shop: Shop, t: Any, recorded: Any, metric_reader: InMemoryMetricReader
) -> None:
    """With the name of its first actor, and a time that covers all steps and retries."""
    steps = [t.first.message(), t.again.message(), t.step.message()]
    pipeline(steps, broker=shop.broker).run()
    shop.work()
    assert recorded() == {("pipeline", "success", "first"): 1}
    (point,) = points_of(metric_reader, METRIC)
    assert 0.22 <= point.sum < 60
    assert point.attributes["messaging.destination.name"] == "default"
    assert point.attributes["messaging.system"] == "stub"
    assert len(point.attributes) == 5


def test_pipeline_ends_at_its_failing_step(shop: Shop, t: Any, recorded: Any) -> None:
    """With the outcome of that step; a message that is delayed counts from its send."""
    steps = [t.first.message(), t.fail.message(), t.step.message()]
    pipeline(steps, broker=shop.broker).run(delay=10)
    shop.work()
    assert recorded() == {("pipeline", "dead_letter", "first"): 1}


def test_pipeline_ends_at_step_that_is_skipped_or_unknown(
    shop: Shop, t: Any, recorded: Any
) -> None:
    """Nothing is enqueued after it."""
    late = t.step.message_with_options(max_age=1)
    pipeline([t.first.message(), late, t.step.message()], broker=shop.broker).run()
    gone = Message(queue_name="default", actor_name="gone", args=(), kwargs={}, options={})
    pipeline([t.step.message(), gone], broker=shop.broker).run()
    shop.work()
    assert recorded() == {
        ("pipeline", "skipped", "first"): 1,
        ("pipeline", "unknown_task", "step"): 1,
    }


def test_group_ends_with_its_completion_callback(
    shop: Shop, t: Any, recorded: Any, metric_reader: InMemoryMetricReader
) -> None:
    """Pipelines in it are parts of the whole. Of several callbacks it is the last one."""
    members = [
        t.first.message(),
        pipeline([t.step.message(), t.again.message()], broker=shop.broker),
        t.step.message(),
    ]
    together = group(members, broker=shop.broker)
    together.add_completion_callback(t.step.message())
    together.add_completion_callback(t.fail.message())
    together.run()
    shop.work()
    assert recorded() == {("group", "dead_letter", "first"): 1}
    (point,) = points_of(metric_reader, METRIC)
    assert 0.2 <= point.sum < 60


@pytest.mark.parametrize("member", ["alone", "in pipeline"])
def test_group_whose_callback_never_runs_is_not_recorded(
    shop: Shop, t: Any, recorded: Any, member: str
) -> None:
    """A member has failed, and nobody knows whether others still run."""
    failing = t.fail.message()
    if member == "in pipeline":
        failing = pipeline([t.step.message(), failing], broker=shop.broker)
    together = group([t.step.message(), failing, t.fail.message()], broker=shop.broker)
    together.add_completion_callback(t.step.message())
    together.run()
    shop.work()
    assert recorded() == {}


def test_group_without_callback_is_not_recorded_but_its_pipelines_are(
    shop: Shop, t: Any, recorded: Any
) -> None:
    """Nothing tells when its last member has ended."""
    steps = pipeline([t.step.message(), t.step.message()], broker=shop.broker)
    group([t.step.message(), steps, t.fail.message()], broker=shop.broker).run()
    shop.work()
    assert recorded() == {("pipeline", "success", "step"): 1}


def test_message_outside_of_workflow_has_no_duration_and_carries_no_start(
    shop: Shop, t: Any, recorded: Any
) -> None:
    """Nor does the first message of a workflow: it costs nothing there."""
    seen: list[str] = []

    class Look(Middleware):
        def after_enqueue(self, _broker: Any, message: Any, _delay: Any) -> None:
            seen.append(message.options["otel"]["otq"])

    shop.broker.add_middleware(Look())
    t.step.send()
    shop.work()
    assert recorded() == {}
    pipeline([t.first.message(), t.step.message()], broker=shop.broker).run()
    shop.work()
    parts = [[part[:1] for part in otq.split(";")[1:]] for otq in seen]
    assert parts == [[], ["w"], ["t", "w", "B"]]
    start = seen[-1].split(";")[-1]
    assert len(start) <= 1 + 4 + 6
