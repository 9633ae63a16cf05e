"""On real brokers: how long workflows took, polls and settlements, of one worker for each."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otel_queue_plugins.cli.received import ReceivedSpan
    from tests.brokers.harness import Lab

METRIC, FETCHES = "taskqueue.workflow.duration", "taskqueue.fetches"
NAMES = ("taskqueue.workflow.kind", "taskqueue.task.outcome", "taskqueue.task.name")
ASKED = {
    "OTEL_QUEUE_SETTLE_SPANS": "on",
    "OTEL_QUEUE_RECEIVE_SPANS": "on",
    "OTEL_QUEUE_METRICS": FETCHES,
}
DRAMATIQ = """
    import dramatiq
    from dramatiq import group, pipeline
    from dramatiq.middleware import GroupCallbacks
    from dramatiq.rate_limits.backends import RedisBackend
    from otel_queue_plugins.dramatiq import instrument
    from tests.brokers.apps.settings import QUEUE, RESULTS_URL, dramatiq_broker

    broker = dramatiq_broker()
    broker.add_middleware(GroupCallbacks(RedisBackend(url=RESULTS_URL)))
    instrument(broker)
    tries = []

    @dramatiq.actor(queue_name=QUEUE)
    def step(*values):
        pass

    @dramatiq.actor(queue_name=QUEUE, min_backoff=50, max_backoff=100)
    def again(*values):
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("not yet")

    @dramatiq.actor(queue_name=QUEUE, max_retries=0)
    def fail(*values):
        raise ValueError("never")
"""


def recorded(lab: Lab) -> Counter[tuple[object, ...]]:
    """How many durations have arrived by kind, outcome and task."""
    found: Counter[tuple[object, ...]] = Counter()
    for point in lab.receiver.latest_points(METRIC):
        found[tuple(point.attributes.get(name) for name in NAMES)] += point.histogram.count
    return found


def named(spans: list[ReceivedSpan], name: str) -> list[ReceivedSpan]:
    """The spans of that name."""
    return [span for span in spans if span.name == name]


def test_workflows_of_celery_are_recorded_once_and_polls_and_acks_have_spans(
    own_lab: Lab,
) -> None:
    """Chain, chord, and both with a failure, by whichever process of the pool sees the end."""
    is_redis = own_lab.broker.system == "redis"
    pool = "prefork" if is_redis else "threads"
    app = own_lab.module("tests.brokers.apps.celery_flows")
    producer = own_lab.producer(app)
    own_lab.celery(app, pool=pool, env=ASKED)
    sent = producer.run("chain(stubborn.si(1), add.si(1, 1), total.si([1])).delay()")
    producer.run("chord([add.si(1, 1), add.si(2, 2)], total.s()).delay()")
    producer.run("chain(add.si(1, 1), fail.si(), add.si(1, 1)).delay()")
    producer.run("chord([add.si(1, 1), fail.si()], total.s()).delay()")
    producer.run("group(add.si(1, 1), add.si(2, 2)).delay()")
    expected: Counter[tuple[object, ...]] = Counter(
        {
            ("chain", "success", "stubborn"): 1,
            ("chord", "success", "add"): 1,
            ("chain", "failure", "add"): 1,
            ("chord", "failure", "add"): 1,
        }
    )
    if pool == "prefork":
        producer.run("chain(sleep.si(), add.si(1, 1)).delay()")
        expected["chain", "timeout", "sleep"] = 1
    own_lab.receiver.until(lambda: recorded(own_lab).total() >= expected.total(), "durations")
    assert recorded(own_lab) == expected

    spans = own_lab.receiver.expect_trace(sent.trace_id, 3 + 4 + 4)
    processes = {span.span_id for span in spans if span.kind == "consumer"}
    acks = named(spans, f"ack {app.queue}")
    assert {span.parent_id for span in acks} == processes
    assert len(acks) == 4
    polls = named(own_lab.receiver.spans(), f"receive {app.queue}")
    if is_redis:
        sends = {span.span_id for span in spans if span.kind == "producer"}
        assert sends <= {link.span_id for span in polls for link in span.links}
        messages = own_lab.receiver.total(FETCHES, taskqueue__fetch__result="message")
        assert 0 < messages <= len(polls)
    else:
        assert not polls


def test_workflows_of_dramatiq_are_recorded_once_and_polls_have_spans(own_lab: Lab) -> None:
    """Pipeline, group with a callback, and a pipeline that fails."""
    app = own_lab.app(DRAMATIQ)
    producer = own_lab.producer(app)
    own_lab.dramatiq(app, env=ASKED)
    sent = producer.run("pipeline([step.message(1), again.message()]).run()")
    producer.run("pipeline([again.message(1), fail.message(), step.message()]).run()")
    producer.run(
        """
        inside = pipeline([step.message(2), step.message()])
        together = group([step.message(1), inside])
        together.add_completion_callback(again.message())
        together.run()
        group([step.message(1), step.message(2)]).run()
        """
    )
    expected: Counter[tuple[object, ...]] = Counter(
        {
            ("pipeline", "success", "step"): 1,
            ("pipeline", "dead_letter", "again"): 1,
            ("group", "success", "step"): 1,
        }
    )
    own_lab.receiver.until(lambda: recorded(own_lab).total() >= expected.total(), "durations")
    assert recorded(own_lab) == expected
    (first,) = (
        span
        for span in own_lab.receiver.trace(sent.trace_id)
        if span.kind == "producer" and span.parent_id == sent.span_id
    )
    polls = named(own_lab.receiver.spans(), f"receive {app.queue}")
    assert first.span_id in {link.span_id for span in polls for link in span.links}
    assert own_lab.receiver.total(FETCHES, taskqueue__fetch__result="message") > 0
