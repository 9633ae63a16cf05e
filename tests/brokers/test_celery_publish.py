"""Sends, relations, wrong carriers and idle workers, on real brokers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.expectations import describe
from tests.services import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.brokers.harness import Lab, Producer

MODULE = "tests.brokers.apps.celery_flows"


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Iterator[Producer]:
    """A worker, and a producer."""
    app = lab.module(MODULE)
    lab.celery(app, concurrency=2)
    yield lab.producer(app)
    lab.close()


@pytest.mark.parametrize(
    "code",
    [
        "result = add.delay(1, 2).id",
        "result = add.apply_async((1, 2), priority=3).id",
        "result = app.send_task('add', (1, 2)).id",
        "result = add.s(1, 2).delay().id",
    ],
)
def test_message_has_one_send_and_one_process_span(shop: Producer, lab: Lab, code: str) -> None:
    """In the caller's trace, with the address of the broker and the same message id."""
    sent = shop.run(code)
    send, process = lab.receiver.expect_trace(sent.trace_id, 2)
    assert (send.service, process.service) == ("web", "worker")
    assert send.parent_id == sent.span_id
    assert process.parent_id == send.span_id
    for span in (send, process):
        assert span.attributes["messaging.message.id"] == sent.result
        assert span.attributes["messaging.system"] == lab.broker.system
        assert span.attributes["server.address"] == "127.0.0.1"
        assert f":{span.attributes['server.port']}" in lab.broker.url


def test_send_by_second_app_or_of_unregistered_task_has_span(shop: Producer, lab: Lab) -> None:
    """The span lasts as long as the publish, also for a task that this process does not know."""
    code = """
        from celery import Celery
        other = Celery("other", broker=app.conf.broker_url, set_as_current=False)
        from otel_queue_plugins.celery import instrument
        instrument(other)
        other.send_task("add", (1, 2), queue=app.conf.task_default_queue)
    """
    sent = shop.run(code)
    send, process = lab.receiver.expect_trace(sent.trace_id, 2)
    assert process.parent_id == send.span_id
    assert process.attributes["taskqueue.task.outcome"] == "success"


def test_message_of_protocol_1_is_in_same_trace(shop: Producer, lab: Lab) -> None:
    """An old producer with this package shares the trace."""
    code = """
        from celery import Celery
        from otel_queue_plugins.celery import instrument
        old = Celery("old", broker=app.conf.broker_url, set_as_current=False)
        old.conf.task_protocol = 1
        instrument(old)
        old.send_task("stubborn", (1,), queue=app.conf.task_default_queue)
    """
    sent = shop.run(code)
    send, first, second = lab.receiver.expect_trace(sent.trace_id, 3)
    assert first.parent_id == second.parent_id == send.span_id
    assert [link.span_id for link in second.links] == [first.span_id]


def test_send_with_unserialisable_arguments_ends_span_with_error(shop: Producer, lab: Lab) -> None:
    """The caller gets its exception, and later spans are siblings."""
    code = """
        from opentelemetry import context, trace
        before = context.get_current()
        try:
            add.delay(object())
        except Exception as error:
            name = type(error).__name__
        assert context.get_current() is before
        add.delay()
        result = name
    """
    sent = shop.run(code)
    failed, send, _ = lab.receiver.expect_trace(sent.trace_id, 3)
    assert sent.result == "EncodeError"
    assert failed.status == "error"
    assert failed.attributes["error.type"] == "kombu.exceptions.EncodeError"
    assert failed.parent_id == send.parent_id == sent.span_id


def test_failed_send_in_task_does_not_stay_current(shop: Producer, lab: Lab) -> None:
    """The next message of the task is its sibling."""
    sent = shop.run("result = restock.delay().get(timeout=60)")
    spans = lab.receiver.expect_trace(sent.trace_id, 5)
    assert sent.result == "EncodeError"
    (task,) = [span for span in spans if span.name == "process restock"]
    failed, send = [span for span in spans if span.name == "send add"]
    assert (failed.status, send.status) == ("error", "unset")
    assert failed.parent_id == send.parent_id == task.span_id


@pytest.mark.parametrize("away", ["broker", "result backend"])
def test_send_to_unreachable_server_is_exported_error(shop: Producer, lab: Lab, away: str) -> None:
    """Whether the broker or the result backend cannot be reached."""
    scheme = lab.broker.url.partition(":")[0] if away == "broker" else "redis"
    nobody = f"{scheme}://127.0.0.1:{free_port()}/1"
    broker, backend = (nobody, None) if away == "broker" else (lab.broker.url, nobody)
    code = f"""
        from celery import Celery
        from opentelemetry import context
        from otel_queue_plugins.celery import instrument
        lost = Celery("lost", broker={broker!r}, backend={backend!r}, set_as_current=False)
        lost.conf.update(redis_retry_on_timeout=False, task_publish_retry=False)
        lost.conf.result_backend_transport_options = {{"retry_policy": {{"max_retries": 0}}}}
        instrument(lost)
        before = context.get_current()
        try:
            lost.send_task("add", retry=False)
        except Exception as error:
            result = type(error).__name__
        assert context.get_current() is before
        app.send_task("add")
    """
    sent = shop.run(code, timeout=40)
    spans = lab.receiver.expect_trace(sent.trace_id, 3)
    failed = spans[0]
    assert failed.status == "error"
    assert str(failed.attributes["error.type"]).endswith(sent.result)
    assert spans[1].parent_id == failed.parent_id == sent.span_id


@pytest.mark.parametrize("relation", ["child", "link", "none"])
def test_each_relation_keeps_baggage(shop: Producer, lab: Lab, relation: str) -> None:
    """The call chooses the relation; only the baggage of the message arrives."""
    code = f"""
        pending = who.apply_async(otel_relation={relation!r})
        result = [pending.id, pending.get(timeout=60)]
    """
    sent = shop.run(code, carrier={"baggage": "user=7"})
    message, seen = sent.result
    process = lab.receiver.expect_span("process who", messaging__message__id=message)
    assert seen == {"user": "7"}
    assert (process.trace_id == sent.trace_id) is (relation == "child")
    linked = [link.trace_id for link in process.links]
    assert linked == ([sent.trace_id] if relation == "link" else [])
    assert shop.run("result = who.delay().get(timeout=60)").result == {}


@pytest.mark.parametrize("relation", ["link", "auto"])
def test_relation_variable_in_producer_is_used(own_lab: Lab, relation: str) -> None:
    """`OTEL_QUEUE_RELATION` in the environment of the sender."""
    app = own_lab.module(MODULE)
    own_lab.celery(app, pool="solo")
    producer = own_lab.producer(app, env={"OTEL_QUEUE_RELATION": relation})
    prompt = producer.run("result = add.delay().id")
    late = producer.run("result = add.apply_async(countdown=0.2).id")
    prompt_span, late_span = (
        own_lab.receiver.expect_span("process add", messaging__message__id=sent.result)
        for sent in (prompt, late)
    )
    assert (prompt_span.trace_id == prompt.trace_id) is (relation == "auto")
    assert late_span.trace_id != late.trace_id


HOSTILE: dict[str, Any] = {
    "types": "{'traceparent': 7, 'tracestate': [1], 'baggage': {'a': 1}, 'otq': True}",
    "far too much baggage": "{{'baggage': 'broken ' * {baggage}}}",
    "long bad members": "{'baggage': ','.join(['broken ' * 300] * 3)}",
    "not ASCII": "{'traceparent': 'é\\x00ÿ', 'baggage': 'user=\\x00é', 'otq': '\\x00'}",
    "nested headers": "{'headers': {'headers': {'traceparent': [1]}}}",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_message_with_wrong_carrier_runs_under_root_span(
    shop: Producer, lab: Lab, kind: str
) -> None:
    """The task has a valid span of its own, and the log of the worker stays short."""
    much = 150_000 if lab.broker.system == "redis" else 15_000  # AMQP: headers fit into a frame
    spoilt = HOSTILE[kind].format(baggage=much) if "{baggage}" in HOSTILE[kind] else HOSTILE[kind]
    code = f"""
        from celery import signals
        spoilt = {spoilt}
        def spoil(headers, **_):
            for key in ("traceparent", "tracestate", "baggage", "otq"):
                headers.pop(key, None)
            headers.update(spoilt)
        signals.before_task_publish.connect(spoil)
        try:
            pending = who.delay()
        finally:
            signals.before_task_publish.disconnect(spoil)
        result = [pending.id, pending.get(timeout=60)]
    """
    sent = shop.run(code)
    message, seen = sent.result
    span = lab.receiver.expect_span("process who", messaging__message__id=message)
    assert seen == {}
    assert span.trace_id != sent.trace_id
    assert span.attributes["taskqueue.task.outcome"] == "success"
    worker_log = [log for title, log in lab.processes.logs() if "celery-" in title]
    assert max(len(line) for log in worker_log for line in log.splitlines()) < 1024


@pytest.mark.parametrize("spans_wanted", [False, True])
def test_polls_of_worker_have_no_client_spans(own_lab: Lab, spans_wanted: bool) -> None:
    """An instrumented broker client is suppressed between tasks, unless asked for."""
    if own_lab.broker.system != "redis":
        pytest.skip("the instrumented client is Redis's")
    app = own_lab.module("tests.brokers.apps.celery_flows_noisy")
    env = {"OTEL_QUEUE_BROKER_SPANS": str(spans_wanted).lower()}
    own_lab.celery(app, pool="threads", env=env)
    producer = own_lab.producer(app)
    ids = [producer.run("result = add.delay().id") for _ in range(2)]
    received = own_lab.receiver
    for sent in ids:
        received.expect_span("process add", messaging__message__id=sent.result)
    send = received.expect_span("send add", trace_id=ids[0].trace_id)
    mine = {sent.trace_id for sent in ids}

    def pushed() -> bool:
        inside = [s for s in received.trace(ids[0].trace_id) if s.parent_id == send.span_id]
        return any(span.name == "LPUSH" for span in inside)

    received.until(pushed, "LPUSH inside the send span")
    polling = [s for s in received.spans() if s.service == "worker" and s.trace_id not in mine]
    assert bool(polling) is spans_wanted, describe(polling)
