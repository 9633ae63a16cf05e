"""Outcomes on real brokers: one span for each delivery, with the correct outcome."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from dramatiq.middleware import Retries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_queue_plugins.cli.received import ReceivedSpan
    from tests.brokers.harness import Lab, Producer

APP = "tests.brokers.apps.dramatiq_outcomes"
OUTCOME = "taskqueue.task.outcome"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is sent, and the outcomes of its deliveries in order.

    `first` and `last` are attributes of these process spans (None: absent); `spans` counts all.
    """

    code: str
    outcomes: tuple[str, ...]
    spans: int = 0
    error: bool = False
    first: Mapping[str, Any] = field(default_factory=dict)
    last: Mapping[str, Any] = field(default_factory=dict)


def dead(reason: str, **more: Any) -> dict[str, Any]:
    """Return the attributes of a dead letter."""
    return {"taskqueue.dead_letter.reason": reason, **more}


CASES = {
    "success": Case(
        code="ok.send()",
        outcomes=("success",),
        last={
            "error.type": None,
            "code.function.name": f"{APP}.ok",
            "taskqueue.task.attempt": 1,
            "taskqueue.task.max_attempts": 21,
            "taskqueue.task.trigger": "call",
        },
    ),
    "made by hand": Case(code="enqueue('ok')", outcomes=("success",)),
    "delayed": Case(code="ok.send_with_options(delay=200)", outcomes=("success",)),
    "retries": Case(
        code="again.send(2)",
        outcomes=("retry", "retry", "success"),
        first={
            "taskqueue.retry.reason": "ValueError: attempt 0",
            "error.type": None,
            "taskqueue.task.max_attempts": 3,
        },
        last={"taskqueue.task.attempt": 3, "taskqueue.retry.reason": None},
    ),
    "Retry": Case(
        code="again.send(1, 70)",
        outcomes=("retry", "success"),
        first={"taskqueue.retry.reason": "asked for", "taskqueue.retry.delay": 0.07},
    ),
    "rate limit": Case(
        code="limited.send()",
        outcomes=("retry", "success"),
        first={"taskqueue.retry.reason": "rate_limit"},
    ),
    "exhausted": Case(
        code="again.send(9)",
        outcomes=("retry", "retry", "dead_letter"),
        error=True,
        last=dead("retries_exhausted", **{"exception.message": "attempt 2"}),
    ),
    "no retries at all": Case(
        code="fail.send()", outcomes=("dead_letter",), error=True, last=dead("retries_exhausted")
    ),
    "throws": Case(code="expected.send()", outcomes=("dead_letter",), last=dead("throws")),
    "retry_when": Case(
        code="picky.send()", outcomes=("dead_letter",), error=True, last=dead("retry_when")
    ),
    "age limit": Case(
        code="enqueue('ok', max_age=0.001)",
        outcomes=("skipped",),
        last={"taskqueue.skip.reason": "age_limit", "taskqueue.dead_letter.queue": "{queue}.XQ"},
    ),
    "skipped": Case(
        code="enqueue('ok', mood='bad')",
        outcomes=("skipped",),
        last={"taskqueue.skip.reason": "Moody", "taskqueue.dead_letter.queue": None},
    ),
    "time limit": Case(
        code="slow.send()", outcomes=("timeout",), error=True, last=dead("time_limit")
    ),
    "time limit of a coroutine": Case(
        code="slow_async.send()", outcomes=("timeout",), error=True, last=dead("time_limit")
    ),
    "unknown actor": Case(
        code="enqueue('gone')",
        outcomes=("unknown_task",),
        error=True,
        last=dead("unknown_task", **{"error.type": "dramatiq.errors.ActorNotFound"}),
    ),
    "lost": Case(
        code="again.send_with_options(args=(1,), mood='unplugged')",
        outcomes=("lost",),
        error=True,
        last={"error.type": "ValueError"},
    ),
}


_told: dict[str, int] = {}


@pytest.fixture(scope="module", params=["first", "last"])
def outcomes(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Producer]:
    """A worker with our middleware first, or last, and a producer."""
    app, env = lab.module(APP), {"POSITION": request.param}
    producer = lab.producer(app, env)
    lab.dramatiq(app, processes=2, threads=2, env=env)
    yield producer
    lab.close()


@pytest.mark.parametrize("name", CASES)
def test_message_has_one_process_span_for_each_delivery_with_its_outcome(
    outcomes: Producer, lab: Lab, name: str
) -> None:
    """One send span and the process spans are all in the caller's trace."""
    case = CASES[name]
    sent = outcomes.run(f"result = QUEUE; {case.code}")
    count = _told[sent.trace_id] = 1 + len(case.outcomes)
    send, *deliveries = lab.receiver.expect_trace(sent.trace_id, count, settle=0)
    assert (send.kind, send.parent_id, send.status) == ("producer", sent.span_id, "unset")
    assert tuple(span.attributes[OUTCOME] for span in deliveries) == case.outcomes
    assert {span.parent_id for span in deliveries} == {send.span_id}
    assert [span.attributes["taskqueue.task.attempt"] for span in deliveries] == list(
        range(1, 1 + len(deliveries))
    )
    before: list[str] = []
    for span in deliveries:
        assert [link.span_id for link in span.links] == before
        before = [span.span_id]
    assert (deliveries[-1].status == "error") is case.error
    assert ("exception" in [event.name for event in deliveries[-1].events[-1:]]) is case.error
    _assert_attributes(deliveries[0], case.first, sent.result)
    _assert_attributes(deliveries[-1], case.last, sent.result)
    assert {span.attributes["messaging.destination.name"] for span in deliveries} == {sent.result}
    assert {span.attributes["messaging.system"] for span in (send, *deliveries)} == {
        lab.broker.system
    }
    assert all(span.attributes["server.port"] > 0 for span in (send, *deliveries))
    assert all(span.attributes["server.address"] == "127.0.0.1" for span in (send, *deliveries))


def test_dead_letter_is_in_the_queue_that_its_span_names(outcomes: Producer, lab: Lab) -> None:
    """The span agrees with what the broker has."""
    before = outcomes.run("result = dead_letters()").result
    sent = outcomes.run("fail.send(); result = QUEUE")
    _, process = lab.receiver.expect_trace(sent.trace_id, 2)
    assert process.attributes["taskqueue.dead_letter.queue"] == f"{sent.result}.XQ"
    after = 0
    for _ in range(50):
        after = outcomes.run("time.sleep(0.02); result = dead_letters()").result
        if after > before:
            break
    assert after == before + 1


@pytest.mark.parametrize("fails", [False, True])
def test_actor_that_sends_its_own_message_makes_send_span_and_keeps_outcome(
    outcomes: Producer, lab: Lab, fails: bool
) -> None:
    """The outcome of the delivery agrees with what the broker has."""
    before = outcomes.run("result = dead_letters()").result
    sent = outcomes.run(f"result = poll.send({fails}).message_id")
    spans = lab.receiver.expect_trace(sent.trace_id, 4)
    (send, again), (first, second) = (
        [span for span in spans if span.kind == kind] for kind in ("producer", "consumer")
    )
    assert [first.attributes[OUTCOME], second.attributes[OUTCOME]] == [
        "dead_letter" if fails else "success",
        "success",
    ]
    parents = [span.parent_id for span in (send, first, again, second)]
    assert parents == [sent.span_id, send.span_id, first.span_id, again.span_id]
    assert {span.attributes["messaging.message.id"] for span in spans} == {sent.result}
    assert {span.attributes["taskqueue.task.attempt"] for span in (first, second)} == {1}
    assert first.links == second.links == ()
    for _ in range(50):
        after = outcomes.run("time.sleep(0.02); result = dead_letters()").result
        if after > before:
            break
    assert after == before + fails


def test_delay_and_backoff_are_no_part_of_wait(outcomes: Producer, lab: Lab) -> None:
    """The delay of the user and the backoff are the scheduled delay."""
    late = outcomes.run("ok.send_with_options(delay=800)")
    again = outcomes.run("again.send(1, 700)")
    send, process = lab.receiver.expect_trace(late.trace_id, 2)
    _, first, second = lab.receiver.expect_trace(again.trace_id, 3)
    for span, planned, before in ((process, 0.8, send), (second, 0.7, first)):
        passed = (span.start_ns - before.start_ns) / 1e9
        wait = span.attributes["taskqueue.task.wait"]
        assert span.attributes["taskqueue.task.scheduled_delay"] == pytest.approx(planned, abs=0.1)
        assert 0 <= wait <= passed - planned + 0.01
        assert span.attributes["taskqueue.task.prefetch_wait"] <= wait


def test_async_actor_has_baggage_and_process_span_current(outcomes: Producer, lab: Lab) -> None:
    """After an await, in a task, in a thread; also for a delayed message."""
    sent = outcomes.run("where.send_with_options(delay=50)", carrier={"baggage": "user=7"})
    spans = lab.receiver.expect_trace(sent.trace_id, 4)
    process, send = by_name(spans, "process where"), by_name(spans, "send ok")
    assert process.attributes[OUTCOME] == "success"
    assert send.parent_id == process.span_id


def test_pipeline_is_one_trace(outcomes: Producer, lab: Lab) -> None:
    """Three steps, each sent inside the one before."""
    sent = outcomes.run("pipeline([add.message(1), add.message(2), add.message(3)]).run()")
    spans = lab.receiver.expect_trace(sent.trace_id, 6)
    steps = [span for span in spans if span.kind == "consumer"]
    assert [span.attributes["taskqueue.workflow.step"] for span in steps] == [0, 1, 2]
    assert {span.attributes["taskqueue.workflow.kind"] for span in steps} == {"pipeline"}
    assert len({span.attributes["messaging.message.conversation_id"] for span in spans}) == 1
    sends = [span for span in spans if span.kind == "producer"]
    assert [span.parent_id for span in sends] == [sent.span_id, *(s.span_id for s in steps[:2])]


@pytest.mark.parametrize("option", ["on_success", "on_failure"])
def test_callback_is_sent_inside_delivery_in_same_trace(
    outcomes: Producer, lab: Lab, option: str
) -> None:
    """Its send span is a child of the delivery that it follows."""
    name = "ok" if option == "on_success" else "fail"
    sent = outcomes.run(f"{name}.send_with_options({option}='ok')")
    spans = lab.receiver.expect_trace(sent.trace_id, 4)
    callback = spans[-1] if spans[-1].kind == "consumer" else spans[-2]
    assert callback.attributes["taskqueue.task.trigger"] == "callback"
    assert callback.name == "process ok"


@pytest.mark.skipif(
    "on_retry_exhausted" not in Retries().actor_options, reason="Dramatiq has it since 1.17.1"
)
def test_on_retry_exhausted_is_sent_inside_last_attempt(outcomes: Producer, lab: Lab) -> None:
    """Its send span is a child of the last attempt."""
    sent = outcomes.run("alarming.send()")
    spans = lab.receiver.expect_trace(sent.trace_id, 4)
    dead, send = by_name(spans, "process alarming"), by_name(spans, "send ok")
    assert dead.attributes[OUTCOME] == "dead_letter"
    assert send.parent_id == dead.span_id


@pytest.mark.parametrize("name", ["fail", "gone"])
def test_middleware_sending_at_nack_makes_child_of_delivery(
    outcomes: Producer, lab: Lab, name: str, request: pytest.FixtureRequest
) -> None:
    """In a worker thread, and in the consumer thread for an actor that is not declared.

    Where our middleware is last in the list, its after-hook comes first, and the span has ended
    then.
    """
    sent = outcomes.run(f"enqueue('{name}', mood='mourned')")
    if request.node.callspec.params["outcomes"] == "last":
        lab.receiver.expect_trace(sent.trace_id, 2)
        return
    spans = lab.receiver.expect_trace(sent.trace_id, 4)
    dead, send = by_name(spans, f"process {name}"), by_name(spans, "send ok")
    assert send.parent_id == dead.span_id


def test_completion_callback_links_to_each_member(outcomes: Producer, lab: Lab) -> None:
    """It does not matter which worker process finishes last."""
    sent = outcomes.run(
        """
        members = [add.message(1), pipeline([add.message(2), add.message(3)]), add.message(4)]
        together = group(members)
        together.add_completion_callback(ok.message())
        together.run()
        """
    )
    spans = lab.receiver.expect_trace(sent.trace_id, 10)
    joined = by_name(spans, "process ok")
    members = {span.span_id for span in spans if span.parent_id == sent.span_id}
    assert len(members) == 3
    assert {link.span_id for link in joined.links} == members
    assert joined.attributes["taskqueue.task.trigger"] == "callback"


def test_message_that_cannot_be_encoded_ends_send_span_with_error(
    outcomes: Producer, lab: Lab
) -> None:
    """The caller's context is restored."""
    code = """
        span = trace.get_current_span()
        try:
            ok.send(object())
        except TypeError:
            result = trace.get_current_span() is span
    """
    sent = outcomes.run(code)
    (send,) = lab.receiver.expect_trace(sent.trace_id, 1)
    assert sent.result is True
    assert (send.status, send.attributes["error.type"]) == ("error", "TypeError")


def test_all_deliveries_are_recorded_once_and_counts_agree_with_spans(
    outcomes: Producer, lab: Lab
) -> None:
    """After all tests above there is one span for each delivery, and counters agree."""
    queue = outcomes.run("result = QUEUE").result
    lab.receiver.wait_for(lambda: False, 0.7)
    told = {trace_id: len(lab.receiver.trace(trace_id)) for trace_id in _told}
    assert told == _told
    spans = [
        span
        for span in lab.receiver.spans()
        if span.kind == "consumer" and span.attributes["messaging.destination.name"] == queue
    ]
    assert len({span.span_id for span in spans}) == len(spans)
    by_outcome = Counter(span.attributes[OUTCOME] for span in spans)
    where = {"messaging__destination__name": queue}
    for outcome, count in by_outcome.items():
        lab.receiver.expect_total(
            "messaging.client.consumed.messages", count, taskqueue__task__outcome=outcome, **where
        )
    lab.receiver.expect_total("messaging.process.duration", len(spans), **where)
    lab.receiver.expect_total("taskqueue.task.retries", by_outcome["retry"], **where)
    _told.clear()
    dead = sum("taskqueue.dead_letter.queue" in span.attributes for span in spans)
    lab.receiver.expect_total("taskqueue.task.dead_letters", dead, **where)


def by_name(spans: list[ReceivedSpan], name: str) -> ReceivedSpan:
    """Return the only span of that name."""
    (found,) = [span for span in spans if span.name == name]
    return found


def _assert_attributes(span: ReceivedSpan, expected: Mapping[str, Any], queue: str) -> None:
    for name, value in expected.items():
        wanted = value.format(queue=queue) if isinstance(value, str) else value
        assert span.attributes.get(name) == wanted, name
