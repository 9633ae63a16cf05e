"""Message ids that are not strings: exported as text, compared as Dramatiq compares them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import dramatiq
import pytest
from dramatiq import Message, group, pipeline
from dramatiq.encoder import JSONEncoder, PickleEncoder

from tests.dramatiq.conftest import QUEUE, Shop, attribute, outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAKE = {
    "int": lambda number: number,
    "UUID": lambda number: uuid.UUID(int=number),
    "tuple": lambda number: ("shop", number),
    "bytes": lambda number: b"%d" % number,
}


@pytest.fixture(params=MAKE)
def make_id(request: pytest.FixtureRequest) -> Iterator[Callable[[int], Any]]:
    """Return what makes ids of one type, with an encoder that accepts them."""
    if request.param != "int":
        dramatiq.set_encoder(PickleEncoder())
    yield MAKE[request.param]
    dramatiq.set_encoder(JSONEncoder())


def message(message_id: Any, **options: Any) -> Message[Any]:
    """Return a message with that id."""
    return Message(QUEUE, "add", (), {}, options, message_id=message_id)


def test_message_with_id_of_any_type_keeps_trace_attempts_and_workflow(
    shop: Shop, make_id: Callable[[int], Any]
) -> None:
    """This holds for a retried, a delayed, a pipelined and a grouped message."""
    shop.instrument()
    left = [1]

    def run(*_: Any) -> None:
        if left:
            left.pop()
            raise ValueError

    shop.actor(run, actor_name="add", min_backoff=5, max_backoff=5)
    shop.broker.enqueue(message(make_id(0)))
    shop.work()
    shop.broker.enqueue(message(make_id(1)), delay=5)
    shop.work()
    steps = [message(make_id(number), pipe_ignore=True) for number in (2, 3)]
    pipeline(steps, broker=shop.broker).run()
    shop.work()
    group([message(make_id(4)), message(make_id(5))], broker=shop.broker).run()
    shop.work()
    first, retried, delayed, one, two, *members = shop.spans("process add")
    assert [outcome(first), outcome(retried)] == ["retry", "success"]
    assert attribute(retried, "taskqueue.task.attempt") == 2
    assert attribute(delayed, "taskqueue.task.scheduled_delay") is not None
    assert [attribute(step, "taskqueue.workflow.step") for step in (one, two)] == [0, 1]
    assert {attribute(step, "taskqueue.workflow.id") for step in (one, two)} == {str(make_id(2))}
    assert attribute(two, "taskqueue.task.trigger") == "workflow"
    assert {attribute(member, "taskqueue.workflow.step") for member in members} == {0, 1}
    sends = {
        span.context.span_id: attribute(span, "messaging.message.id")
        for span in shop.spans("send add")
    }
    processed = shop.spans("process add")
    assert len(sends) == 6
    assert [span.parent and sends[span.parent.span_id] for span in processed] == [
        attribute(span, "messaging.message.id") for span in processed
    ]
