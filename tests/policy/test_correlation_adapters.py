"""Correlation in both frameworks: from the arguments of real tasks, over real workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dramatiq
import pytest
from celery import chain, chord

from tests.celery.conftest import connected_receiver, instrumenting, memory_app, running, until

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from tests.dramatiq.conftest import Shop

__all__ = ["connected_receiver"]

KEY = "taskqueue.correlation.tenant_id"
IDENTITY = "taskqueue.correlation_id"


def values(spans: list[ReadableSpan], name: str = KEY) -> list[object]:
    """The attribute of each span, by start time."""
    return [(span.attributes or {}).get(name) for span in spans]


@pytest.mark.slow
@pytest.mark.parametrize("protocol", [1, 2])
def test_celery_task_has_value_at_both_ends(protocol: int) -> None:
    """By the signature of a bound task, by position and by name, and run eagerly."""
    app = memory_app(task_protocol=protocol)

    @app.task(shared=False, bind=True)
    def charge(self: Any, tenant: dict[str, int], note: str = "") -> None:
        """Use `self`, which is no argument."""

    with instrumenting(app, correlation="tenant_id=tenant.id") as telemetry, running(app):
        charge.delay({"id": 7})
        charge.delay(note="x", tenant={"id": 8})
        telemetry.expect(4)
        charge.apply(({"id": 9},))
        spans = telemetry.expect(5)
        assert sorted(map(str, values(spans))) == ["7", "7", "8", "8", "9"]


@pytest.mark.slow
def test_celery_task_that_the_sender_does_not_know_has_value_in_the_worker() -> None:
    """By name the sender finds it, too."""
    app, other = memory_app(), memory_app()
    other.conf.task_default_queue = app.conf.task_default_queue

    @app.task(shared=False, name="shop.charge")
    def charge(tenant: str) -> None:
        """A task."""

    with instrumenting(correlation="tenant_id=tenant") as telemetry, running(app):
        other.send_task("shop.charge", ("acme",))
        telemetry.expect(2)
        assert values(telemetry.spans()) == [None, "acme"]
        telemetry.exporter.clear()
        other.send_task("shop.charge", kwargs={"tenant": "acme"})
        telemetry.expect(2)
        assert values(telemetry.spans()) == ["acme", "acme"]


@pytest.mark.slow
@pytest.mark.parametrize("relation", ["child", "link", "none"])
def test_celery_workflow_hands_value_and_id_on(relation: str) -> None:
    """Through a chain with a retry and a chord; only the first task has the argument."""
    app = memory_app()
    attempts: list[int] = []

    @app.task(shared=False)
    def first(tenant: str) -> int:
        return len(tenant)

    @app.task(shared=False, bind=True, max_retries=1)
    def second(self: Any, number: int) -> int:
        attempts.append(number)
        if len(attempts) == 1:
            raise self.retry(countdown=0)
        return number

    @app.task(shared=False)
    def last(numbers: list[int]) -> None:
        """The body of a chord."""

    options = {"correlation": "tenant_id=tenant", "correlation_baggage": True}
    with (
        instrumenting(app, relation=relation, correlation_id=True, **options) as telemetry,
        running(app),
    ):
        chain(first.s("acme"), second.s(), chord([second.s(), second.s()], last.s())).delay()
        until(lambda: bool(telemetry.spans(f"process {last.name}")))
        spans = telemetry.spans()
    assert len(spans) == 11
    assert set(values(spans)) == {"acme"}
    assert len(set(values(spans, IDENTITY))) == 1


@pytest.mark.parametrize("relation", ["child", "link", "none"])
def test_dramatiq_pipeline_hands_value_and_id_on(shop: Shop, relation: str) -> None:
    """Through a delay, a retry and the next step; only the first actor has the argument."""
    options = {"correlation": {"tenant_id": "tenant.id"}, "correlation_baggage": True}
    shop.instrument(relation=relation, correlation_id=True, **options)
    attempts: list[int] = []

    @shop.actor(min_backoff=1, max_backoff=1, max_retries=1)
    def first(tenant: dict[str, str]) -> int:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError(tenant)
        return 1

    @shop.actor
    def second(number: int) -> None:
        """The next step."""

    steps = [first.message({"id": "acme"}), second.message()]
    dramatiq.pipeline(steps, broker=shop.broker).run(delay=5)
    shop.work()
    spans = shop.spans()
    assert sorted(span.name for span in spans) == [
        *("process first", "process first", "process second", "send first", "send second"),
    ]
    assert set(values(spans)) == {"acme"}
    assert len(set(values(spans, IDENTITY))) == 1


def test_dramatiq_message_has_value_where_nobody_knows_its_actor(shop: Shop) -> None:
    """By name, since there is no signature."""
    shop.instrument(correlation="tenant_id=tenant,first=args.0")
    shop.broker.declare_queue("default")
    message = dramatiq.Message(
        queue_name="default", actor_name="gone", args=(1,), kwargs={"tenant": "acme"}, options={}
    )
    shop.broker.enqueue(message)
    shop.work()
    assert values(shop.spans()) == ["acme", "acme"]
    assert values(shop.spans(), "taskqueue.correlation.first") == [1, 1]
