"""The tasks that are sent, and the outcomes of their deliveries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

APP = "tests.brokers.apps.celery_outcomes"


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
    """Return a snippet that publishes `body` with headers of protocol 2."""
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
    "retry that cannot be sent": Case(
        code="again_in_vain.delay()",
        outcomes=("lost",),
        error=True,
        last={"error.type": "TypeError", "taskqueue.retry.reason": None},
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
        code=raw("'[[], {'"),
        outcomes=("undecodable",),
        sends=0,
        error=True,
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
        code=raw("'[[], {}, {}]'", task=None),
        outcomes=("undecodable",),
        sends=0,
        error=True,
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
