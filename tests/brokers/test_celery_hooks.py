"""Hooks of users at the end of a task run inside the delivery, wherever Celery calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import celery
import pytest

from tests.brokers.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_queue_plugins.cli.received import ReceivedSpan
    from tests.brokers.harness import Lab
    from tests.brokers.harness_producer import Producer
    from tests.processes import ManagedProcess

APP = "tests.brokers.apps.celery_hooks"
OLD = tuple(int(part) for part in celery.__version__.split(".")[:2]) < (5, 7)
since_5_7 = pytest.mark.skipif(OLD, reason="Celery before 5.7 calls no hook here")


@pytest.fixture(scope="module", params=["child", "link"])
def relation(request: pytest.FixtureRequest) -> dict[str, str]:
    """Whether process spans are in the sender's trace, or start their own."""
    return {"OTEL_QUEUE_RELATION": request.param}


@pytest.fixture(scope="module")
def worker(lab: Lab, relation: dict[str, str]) -> ManagedProcess:
    """A prefork worker."""
    app = lab.module(APP, queue=f"{lab.broker.queue}-hooks")
    return lab.celery(app, arguments=["-Q", app.queue], env=relation)


@pytest.fixture(scope="module")
def sender(lab: Lab, worker: ManagedProcess, relation: dict[str, str]) -> Iterator[Producer]:
    """A producer for that worker."""
    assert worker.returncode is None
    yield lab.producer(lab.module(APP, queue=f"{lab.broker.queue}-hooks"), env=relation)
    lab.close()


@pytest.mark.parametrize(
    ("code", "task", "hooks"),
    [
        pytest.param(
            "hard.delay()", "hard", {"on_failure", "after_return", "task_failure"}, marks=since_5_7
        ),
        ("hard.delay()", "hard", {"task_failure"}),
        ("shot.delay()", "shot", {"task_failure"}),
        pytest.param(
            "shot_and_retried.delay()",
            "shot_and_retried",
            {"on_retry", "task_retry"},
            marks=since_5_7,
        ),
        pytest.param("reject.delay()", "reject", {"task_failure"}, marks=since_5_7),
        ("hold.apply_async(countdown=0.6, expires=0.3)", "hold", {"task_revoked"}),
        ("app.send_task('nobody.knows', queue=QUEUE)", "nobody.knows", {"task_unknown"}),
        ("raw('[[], {}, {}]')", "unknown", {"task_rejected"}),
        ("custom_hard.delay()", "custom_hard", {"hard request", "failed request"}),
        ("custom_soft.delay()", "custom_soft", {"soft request", "failed request"}),
        ("custom_failure.delay()", "custom_failure", {"failed request"}),
    ],
)
def test_hook_in_main_process_is_child_of_process_span(
    code: str, task: str, hooks: set[str], sender: Producer, worker: ManagedProcess, lab: Lab
) -> None:
    """Whichever process records that span, and in whichever trace it is."""
    sent = sender.run(code)
    process = _process_of(lab, sent.trace_id, task)
    _expect(lab, process, worker, hooks)


def test_hook_of_terminated_task_is_child_of_its_span(
    sender: Producer, worker: ManagedProcess, lab: Lab
) -> None:
    """Celery calls it before the outcome is known; what it sets is on the span."""
    sent = sender.run("result = hold.delay(20).id")
    worker.wait_for_log(f"at work {sent.result}")
    sender.run(f"app.control.revoke({sent.result!r}, terminate=True)")
    process = _process_of(lab, sent.trace_id, "hold")
    _expect(lab, process, worker, {"task_revoked"})
    assert process.attributes["taskqueue.task.outcome"] == "revoked"
    assert process.attributes["seen.task_revoked"] is True


def test_hook_of_cancelled_task_is_child_of_its_span(own_lab: Lab) -> None:
    """Celery calls it for a task that it cancels after it has lost the broker."""
    with Proxy(own_lab.broker.url) as proxy:
        app = own_lab.module(APP)
        worker = own_lab.celery(app, arguments=["-Q", app.queue], env={"BROKER_URL": proxy.url})
        sent = own_lab.producer(app).run("result = hold_late.delay(20).id")
        worker.wait_for_log(f"at work {sent.result}")
        proxy.cut()
        process = _process_of(own_lab, sent.trace_id, "hold_late")
        _expect(own_lab, process, worker, {"on_retry", "task_retry"})
    assert process.attributes["taskqueue.task.outcome"] == "retry"
    assert process.attributes["seen.on_retry"] is True


@since_5_7
@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_hook_in_process_of_task_is_child_of_process_span(pool: str, own_lab: Lab) -> None:
    """Also after the task, when Celery has taken its result."""
    app = own_lab.module(APP)
    worker = own_lab.celery(app, pool=pool, arguments=["-Q", app.queue])
    sent = own_lab.producer(app).run("reject.delay()")
    process = _process_of(own_lab, sent.trace_id, "reject")
    _expect(own_lab, process, worker, {"task_failure"})


def test_hook_of_greenlet_over_time_limit_is_child_of_its_span(own_lab: Lab) -> None:
    """Gevent calls it after the task has ended."""
    app = own_lab.module(APP)
    worker = own_lab.celery(app, pool="gevent", arguments=["-Q", app.queue])
    sent = own_lab.producer(app).run("custom_hard.delay()")
    process = _process_of(own_lab, sent.trace_id, "custom_hard")
    _expect(own_lab, process, worker, {"hard request"})
    assert process.attributes["taskqueue.task.outcome"] == "timeout"


def test_hook_before_delivery_has_creation_context(
    sender: Producer, worker: ManagedProcess, lab: Lab
) -> None:
    """A message that is received may never be processed by this worker."""
    sent = sender.run("hold.delay(0)")
    hook = lab.receiver.expect_span("hook task_received", trace_id=sent.trace_id)
    send = lab.receiver.expect_span("send hold", trace_id=sent.trace_id)
    assert hook.parent_id == send.span_id
    assert hook.attributes["suppressed"] is False
    assert hook.attributes["pid"] == worker.pid


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_hook_of_worker_itself_is_not_suppressed(pool: str, own_lab: Lab) -> None:
    """Only what the worker does of its own accord is suppressed."""
    app = own_lab.module(APP)
    worker = own_lab.celery(app, pool=pool, arguments=["-Q", app.queue])
    assert worker.stop() == 0
    for name in ("worker_ready", "worker_shutting_down", "worker_shutdown"):
        hook = own_lab.receiver.expect_span(f"hook {name}")
        assert hook.attributes["suppressed"] is False


def _process_of(lab: Lab, trace_id: str, task: str) -> ReceivedSpan:
    """Return the process span of the message sent in that trace."""

    def found() -> list[ReceivedSpan]:
        return [
            span
            for span in lab.receiver.spans()
            if span.name == f"process {task}"
            and trace_id in {span.trace_id, *(link.trace_id for link in span.links)}
        ]

    lab.receiver.until(lambda: bool(found()), f"process {task}", timeout=20)
    return found()[0]


def _expect(lab: Lab, process: ReceivedSpan, worker: ManagedProcess, hooks: set[str]) -> None:
    """Check that the hooks of that delivery, and what they sent, are inside of it."""

    def seen() -> list[ReceivedSpan]:
        return [
            span
            for span in lab.receiver.spans()
            if span.parent_id == process.span_id and span.attributes.get("pid") == worker.pid
        ]

    names = {f"hook {hook}" for hook in hooks}
    lab.receiver.until(lambda: names <= {span.name for span in seen()}, f"{names}")
    assert {span.trace_id for span in seen()} == {process.trace_id}
    assert not any(span.attributes["suppressed"] for span in seen())
    for hook in seen():
        lab.receiver.until(
            lambda hook=hook: any(
                span.parent_id == hook.span_id and span.kind == "producer"
                for span in lab.receiver.spans()
            ),
            "what the hook sent",
        )
