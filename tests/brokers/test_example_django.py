"""The example of Django with Celery, beat and stored results, run by the commands of its README."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.brokers import readmes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.brokers.harness import Lab

NEEDED = ("django", "django_celery_results", "gunicorn", "opentelemetry.instrumentation.django")
OUTCOME, TRIGGER = "taskqueue.task.outcome", "taskqueue.task.trigger"
RUNNING = {
    "celery -A shop worker": r" ready\.$",
    "celery -A shop beat": "beat: Starting",
    "gunicorn": "Listening at",
}


@pytest.mark.parametrize("own_broker", ["redis"], indirect=True)
def test_order_is_one_trace_and_each_reminder_another(own_lab: Lab, tmp_path: Path) -> None:
    """From the request to the stored result; and from beat to the worker."""
    received = own_lab.receiver
    example = readmes.installed(own_lab, "django_celery", tmp_path, NEEDED)
    example.output("manage.py migrate", readmes.environment(own_lab))
    readmes.start(own_lab, example, RUNNING)

    (order,) = json.loads(example.output("-d cents=990")).values()
    charged = received.expect_span("process orders.charge", **{OUTCOME: "success"})
    assert json.loads(example.output("orders/1")) == {
        "order": order,
        "is_paid": True,
        "task": "SUCCESS",
        "result": json.dumps({"order": order, "attempts": 2}),
    }
    request, send, retried, last = received.expect_trace(charged.trace_id, 4)
    assert (request.name, request.kind, request.service) == ("POST orders", "server", "shop-web")
    assert (send.name, send.parent_id) == ("send orders.charge", request.span_id)
    assert [each.attributes[OUTCOME] for each in (retried, last)] == ["retry", "success"]
    for attempt in (retried, last):
        assert (attempt.service, attempt.parent_id) == ("shop-worker", send.span_id)

    reminded = "process orders.remind"
    received.until(lambda: any(each.name == reminded for each in received.spans()), reminded)
    reminder = next(each for each in received.spans() if each.name == reminded)
    sent, run = received.expect_trace(reminder.trace_id, 2)
    assert (sent.name, sent.service, sent.parent_id) == ("send orders.remind", "shop-beat", "")
    assert (run.service, run.parent_id) == ("shop-worker", sent.span_id)
    assert (run.attributes[OUTCOME], run.attributes[TRIGGER]) == ("success", "schedule")
