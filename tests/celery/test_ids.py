"""Ids of any type are compared as Celery compares them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from celery import chain, chord, group
from hypothesis import given
from hypothesis import strategies as st

from otel_queue_plugins.celery import translation
from tests.celery.conftest import Telemetry, ids, linked_ids, memory_app, parent_ids, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery

OUTCOME, TRIGGER = "taskqueue.task.outcome", "taskqueue.task.trigger"
ATTEMPT, LIMIT = "taskqueue.task.attempt", "taskqueue.task.max_attempts"
MESSAGE_ID, ROOT = "messaging.message.id", "messaging.message.conversation_id"
WORKFLOW = "taskqueue.workflow.id"


@pytest.fixture(scope="module", params=[1, 2], ids=["protocol 1", "protocol 2"])
def shop(request: pytest.FixtureRequest, module_telemetry: Telemetry) -> Iterator[Celery]:  # noqa: ARG001 - comes first
    """Tasks that are retried, and that other tasks follow."""
    app = memory_app(task_protocol=request.param)

    @app.task(shared=False, name="add")
    def add(*_: Any) -> int:
        return 1

    @app.task(shared=False, name="total")
    def total(numbers: list[int]) -> int:
        return len(numbers)

    @app.task(shared=False, name="flaky", bind=True, max_retries=2)
    def flaky(self: Any) -> None:
        if not self.request.retries:
            raise self.retry(countdown=0, max_retries=6)

    @app.task(shared=False, name="swap", bind=True)
    def swap(self: Any) -> Any:
        raise self.replace(add.si())

    @app.task(shared=False, name="rewrite", bind=True, max_retries=3)
    def rewrite(self: Any, *written: int) -> None:
        run = int((self.request.headers or {}).get("run", 0))
        if run < len(written):
            self.request.retries = written[run]
            raise self.retry(countdown=0, headers={"run": run + 1})

    with running(app):
        yield app


@pytest.fixture(
    params=[str, uuid.UUID, lambda text: uuid.UUID(text).int >> 70], ids=["str", "UUID", "int"]
)
def new_id(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Makes ids of one type."""
    return lambda: request.param(str(uuid.uuid4()))


def test_retry_with_any_id_is_same_message(
    shop: Celery, telemetry: Telemetry, new_id: Callable[[], Any]
) -> None:
    """There is one send span, the maximum of the retry, and the same id in every span."""
    task_id = new_id()
    shop.tasks["flaky"].apply_async(task_id=task_id)
    sent, first, second = telemetry.expect(3)
    assert parent_ids(first) == parent_ids(second) == ids(sent)
    assert linked_ids(second)[-1] == ids(first)
    assert {span.attributes[MESSAGE_ID] for span in (sent, first, second)} == {str(task_id)}
    assert [span.attributes[LIMIT] for span in (first, second)] == [7, 3]
    assert [span.attributes[TRIGGER] for span in (first, second)] == ["call", "call"]
    root = None if shop.conf.task_protocol == 1 else str(task_id)
    assert {span.attributes.get(ROOT) for span in (sent, first, second)} == {root}


def test_callback_with_any_id_has_trigger_callback(
    shop: Celery, telemetry: Telemetry, new_id: Callable[[], Any]
) -> None:
    """Celery sends it because a task with that id ended."""
    add = shop.tasks["add"]
    add.apply_async(task_id=new_id(), link=add.si())
    telemetry.expect(4)
    first, followed = telemetry.spans("process add")
    assert [span.attributes[TRIGGER] for span in (first, followed)] == ["call", "callback"]


def test_replacement_with_any_id_is_a_send(
    shop: Celery, telemetry: Telemetry, new_id: Callable[[], Any]
) -> None:
    """It has the id of the task, and is another message."""
    task_id = new_id()
    shop.tasks["swap"].apply_async(task_id=task_id)
    sent, swapped, again, added = telemetry.expect(4)
    assert [span.name for span in (sent, swapped, again, added)] == [
        "send swap",
        "process swap",
        "send add",
        "process add",
    ]
    assert again.attributes[MESSAGE_ID] == added.attributes[MESSAGE_ID] == str(task_id)
    assert parent_ids(added) == ids(again)


@pytest.mark.parametrize("written", [(0, 0), (2, 0), (1, 2, 0, 0), (-3,)])
def test_retry_of_task_that_changes_its_retries_is_an_attempt(
    shop: Celery, telemetry: Telemetry, written: tuple[int, ...]
) -> None:
    """The next attempt is the same message; its number is what Celery counts, from 1."""
    shop.tasks["rewrite"].delay(*written)
    sent, *attempts = telemetry.expect(2 + len(written))
    assert [parent_ids(attempt) for attempt in attempts] == [ids(sent)] * len(attempts)
    outcomes = [attempt.attributes[OUTCOME] for attempt in attempts]
    assert outcomes == ["retry"] * len(written) + ["success"]
    counted = [1, *(max(1, retries + 2) for retries in written)]
    assert [attempt.attributes[ATTEMPT] for attempt in attempts] == counted
    assert {attempt.attributes[TRIGGER] for attempt in attempts} == {"call"}


def test_chain_with_any_id_has_its_steps(
    shop: Celery, telemetry: Telemetry, new_id: Callable[[], Any]
) -> None:
    """The steps are counted, and the chain has the id of its last task."""
    if shop.conf.task_protocol == 1:
        pytest.skip("the older protocol says nothing of the steps to come")
    add, task_id = shop.tasks["add"], new_id()
    chain(add.si(), add.si(), add.si()).apply_async(task_id=task_id)
    telemetry.expect(6)
    steps = telemetry.spans("process add")
    assert [span.attributes["taskqueue.workflow.step"] for span in steps] == [0, 1, 2]
    assert {span.attributes["taskqueue.workflow.id"] for span in steps} == {str(task_id)}
    assert {span.attributes["taskqueue.workflow.kind"] for span in steps} == {"chain"}


def test_group_with_any_id_has_its_members(
    shop: Celery, telemetry: Telemetry, new_id: Callable[[], Any]
) -> None:
    """They have the id of the group, and their index in it."""
    if shop.conf.task_protocol == 1:
        pytest.skip("the older protocol says nothing of places")
    add, group_id = shop.tasks["add"], new_id()
    group(add.si(), add.si()).set(task_id=group_id).apply_async()
    telemetry.expect(4)
    members = telemetry.spans("process add")
    assert {span.attributes[WORKFLOW] for span in members} == {str(group_id)}
    assert {span.attributes["taskqueue.workflow.step"] for span in members} == {0, 1}


def test_chord_body_with_any_id_links_to_members(
    shop: Celery, telemetry: Telemetry, new_id: Callable[[], Any]
) -> None:
    """It links to each of the members, whatever its own id is; Celery joins none without a str."""
    add, total = shop.tasks["add"], shop.tasks["total"]
    chord([add.si(), add.si()], total.s().set(task_id=new_id())).delay()
    telemetry.expect(6)
    sent = [ids(span) for span in telemetry.spans("send add")]
    assert linked_ids(telemetry.one("process total")) == sent


@given(st.integers() | st.uuids() | st.text())
def test_identity_of_id_is_its_text(value: object) -> None:
    """Whatever its type is."""
    assert translation.identity(value) == str(value)


@pytest.mark.parametrize("value", [None, 1.5, [1], {"a": 1}, b"x"])
def test_identity_of_other_value_is_none(value: object) -> None:
    """A value that Celery does not use for ids is left out."""
    assert translation.identity(value) is None
