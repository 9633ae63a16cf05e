"""How tasks end that run to their end: one span for each delivery, and the outcome that is true."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_queue_plugins.cli.received import ReceivedSpan
    from tests.brokers.harness import Lab, Producer

APP = "tests.brokers.apps.celery_outcomes"
OUTCOME = "taskqueue.task.outcome"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is sent, and the outcomes of its deliveries in order.

    `last` and `first` are attributes of these process spans (None: absent).
    """

    code: str
    outcomes: tuple[str, ...]
    sends: int = 1
    error: bool = False
    first: Mapping[str, Any] = field(default_factory=dict)
    last: Mapping[str, Any] = field(default_factory=dict)


def raw(body: str, **headers: Any) -> str:
    """A snippet that publishes `body` under a protocol 2 header."""
    given = {"task": "ok", "lang": "py", **headers}
    return f"raw({body}, **{given!r})"


GAVE_UP = {"taskqueue.retry.reason": "max retries exceeded"}
CASES = {
    "success": Case(
        code="ok.delay()",
        outcomes=("success",),
        last={"error.type": None, "code.function.name": f"{APP}.ok", "taskqueue.task.attempt": 1},
    ),
    "stored": Case(code="stored.delay()", outcomes=("success",)),
    "failure": Case(
        code="fail.delay()",
        outcomes=("failure",),
        error=True,
        last={"error.type": "ValueError", "exception.message": "broken"},
    ),
    "expected failure": Case(
        code="expected.delay()", outcomes=("failure",), last={"error.type": "KeyError"}
    ),
    "exception that cannot be printed": Case(
        code="unprintable.delay()",
        outcomes=("failure",),
        error=True,
        last={"error.type": f"{APP}.CannotSayError"},
    ),
    "retry": Case(
        code="again.delay(1)",
        outcomes=("retry", "success"),
        first={
            "taskqueue.task.attempt": 1,
            "taskqueue.task.max_attempts": 3,
            "taskqueue.retry.delay": 0.0,
            "taskqueue.retry.reason": "attempt 0",
            "error.type": None,
        },
        last={"taskqueue.task.attempt": 2, "taskqueue.retry.reason": None},
    ),
    "retries exhausted": Case(
        code="again.delay(3)",
        outcomes=("retry", "retry", "failure"),
        error=True,
        last={"error.type": "ValueError", "taskqueue.task.attempt": 3, **GAVE_UP},
    ),
    "retries exhausted, without a reason": Case(
        code="again_without_reason.delay()",
        outcomes=("retry", "failure"),
        error=True,
        last={"error.type": "celery.exceptions.MaxRetriesExceededError", **GAVE_UP},
    ),
    "autoretry": Case(
        code="automatic.delay()",
        outcomes=("retry", "failure"),
        error=True,
        first={"taskqueue.retry.reason": "again"},
        last={"error.type": "ValueError", **GAVE_UP},
    ),
    "ignore": Case(code="ignore.delay()", outcomes=("ignored",)),
    "replace": Case(code="replaced.delay()", outcomes=("ignored", "success"), sends=2),
    "reject and requeue": Case(
        code="requeue.delay()",
        outcomes=("requeued", "success"),
        first={"taskqueue.redelivered": None},
        last={"taskqueue.redelivered": True},
    ),
    "result not serialisable": Case(
        code="unserialisable.delay()",
        outcomes=("failure",),
        error=True,
        last={"error.type": "kombu.exceptions.EncodeError"},
    ),
    "result backend away": Case(code="unstorable.delay()", outcomes=("failure",), error=True),
    "unknown task": Case(
        code="app.send_task('nobody.knows')",
        outcomes=("unknown_task",),
        error=True,
        last={"taskqueue.task.name": "nobody.knows"},
    ),
    "expired on arrival": Case(
        code=raw("'[[], {}, {}]'", expires="2020-01-01T00:00:00+00:00"),
        outcomes=("expired",),
        sends=0,
        last={"taskqueue.task.name": "ok"},
    ),
    "expired in the worker": Case(
        code="ok.apply_async(countdown=0.6, expires=0.3)", outcomes=("expired",)
    ),
    "bad JSON": Case(
        code=raw("'[[], {'"), outcomes=("undecodable",), sends=0, error=True,
        last={"taskqueue.task.name": "ok"},
    ),
    "bad UTF-8": Case(
        code=raw(r"b'[[\"\xff\xfe\"], {}, {}]'"), outcomes=("undecodable",), sends=0, error=True
    ),
    "refused content type": Case(
        code=raw("b'\\x80\\x04.'", content_type="application/x-python-serialize"),
        outcomes=("undecodable",),
        sends=0,
        error=True,
        last={"error.type": "kombu.exceptions.ContentDisallowed"},
    ),
    "no task header": Case(
        code=raw("'[[], {}, {}]'", task=None), outcomes=("undecodable",), sends=0, error=True,
        last={"taskqueue.task.name": "unknown"},
    ),
    "kwargs no mapping": Case(
        code=raw("'[[], [], {}]'"),
        outcomes=("failure",),
        sends=0,
        error=True,
        last={"error.type": "celery.exceptions.InvalidTaskError"},
    ),
}


@pytest.fixture(scope="module", params=["prefork", "threads"])
def pool(request: pytest.FixtureRequest) -> str:
    """The pool of the worker that the scenarios share."""
    return str(request.param)


@pytest.fixture(scope="module")
def outcomes(lab: Lab, pool: str) -> Iterator[Producer]:
    """A worker and somebody who sends; at the end no delivery was told twice, and counts add up."""
    app = lab.module(APP)
    lab.celery(app, pool=pool, arguments=["-Q", app.queue])
    yield lab.producer(app)
    lab.close()


@pytest.mark.parametrize("name", CASES)
def test_a_delivery_is_one_span_with_its_outcome(name: str, outcomes: Producer, lab: Lab) -> None:
    """Each delivery is told once, with what became of it; only failures are errors."""
    case = CASES[name]
    sent = outcomes.run(case.code)
    spans = lab.receiver.expect_trace(sent.trace_id, case.sends + len(case.outcomes), settle=0, timeout=8)
    processed = [span for span in spans if span.kind == "consumer"]
    assert [span.attributes[OUTCOME] for span in processed] == list(case.outcomes)
    assert [span.status for span in processed[:-1]] == ["unset"] * (len(processed) - 1)
    assert processed[-1].status == ("error" if case.error else "unset")
    _assert_attributes(processed[0], case.first)
    _assert_attributes(processed[-1], case.last)


def test_a_rejected_message_says_where_it_went(outcomes: Producer, lab: Lab) -> None:
    """Reject without requeue is an error; with a dead-letter exchange the queue behind it is named."""
    sent = outcomes.run("dead_letters(); result = reject.delay().id")
    _, process = lab.receiver.expect_trace(sent.trace_id, 2, settle=0, timeout=8)
    rabbit = lab.broker.system == "rabbitmq"
    assert process.attributes[OUTCOME] == "rejected"
    assert process.status == "error"
    dead = process.attributes.get("taskqueue.dead_letter.queue")
    assert dead == (f"{process.attributes['messaging.destination.name']}-dead" if rabbit else None)
    if rabbit:
        assert outcomes.run("result = dead_letters()").result == [sent.result]


def _assert_attributes(span: ReceivedSpan, expected: Mapping[str, Any]) -> None:
    assert {name: span.attributes.get(name) for name in expected} == dict(expected)
