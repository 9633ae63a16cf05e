"""One message and its trace in `otel-queue top`."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    set_span_in_context,
)

from tests.cli.queue_commands import SPAN_ID, TRACE_ID, TRACEPARENT, fill_celery, fill_dramatiq
from tests.cli.spans import process, span
from tests.cli.test_backends import JAEGER, Backend, backend
from tests.cli.top import views
from tests.cli.top.test_messages_screen import enter

if TYPE_CHECKING:
    from otel_queue_plugins.cli.top.session import Session
    from tests.cli.top.views import View

__all__ = ["backend"]

TRACE = f"{TRACE_ID:032x}"


def post(url: str, body: bytes) -> int:
    """Export over OTLP; the status of the answer."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/x-protobuf"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        status: int = answer.status
    return status


async def into_message(view: View, identity: str) -> None:
    """Go into the first message of the queue."""
    await enter(view)
    await view.sees(identity)
    await view.press("enter")
    await view.sees(f"message {identity}")


def test_message_has_its_headers_and_no_arguments(redis: Any) -> None:
    """Workflow, attempt, trace; without a source of traces it says how to get one."""
    later = {"actor_name": "notify", "args": ["card 4711"], "kwargs": {}}
    fill_dramatiq(redis, "m1", pipe_target=later, retries=2, group_completion_uuid="g-7")

    async def act(view: View) -> None:
        await into_message(view, "m1")
        shown = await view.sees("charge m1", TRACE, "--receive")
        for line in ("queue       orders, ready", "attempt     3/4", "workflow    group g-7"):
            assert line in shown
        assert '"actor_name": "notify"' in shown
        assert "4711" not in shown
        await view.press("c")
        await view.sees(f"copied the trace id {TRACE}")
        await view.press("escape")
        await view.sees("1 ready 1")

    views.run(act, "dramatiq", size=(80, 24))


def test_arguments_are_shown_redacted_if_they_are_asked_for(redis: Any) -> None:
    """By the rules of the environment."""
    redis.lpush(
        "orders",
        '{"headers": {"task": "charge", "id": "m1", "argsrepr": "(4711,)",'
        " \"kwargsrepr\": \"{'password': 'hunter2'}\"}}",
    )

    async def act(view: View) -> None:
        await into_message(view, "m1")
        shown = await view.sees("4711", "not traced")
        assert "hunter2" not in shown

    views.run(act, "celery", "--args")


def test_trace_is_a_tree_that_fits_and_grows(redis: Any) -> None:
    """Also in 80 columns; control characters of a name are not drawn."""
    fill_celery(redis, "m1")
    spans = [span("a", "GET /\x1b[2J\u6ce8\u6587", 0, 9, trace=TRACE)]

    def changed(session: Session) -> Session:
        return replace(session, traces=[lambda trace_id: spans if trace_id == TRACE else []])

    async def act(view: View) -> None:
        await into_message(view, "m1")
        await view.sees("GET /?[2J注文", f"trace {TRACE}")
        spans.append(process("b", "charge", 3, 8, "failure", parent="a", trace=TRACE))
        await view.press("r")
        shown = await view.sees("└ process charge", "failure")
        assert all(len(line) <= 80 for line in shown.splitlines())
        await view.pilot.resize_terminal(60, 20)
        await view.sees("process charge")

    views.run(act, "celery", size=(80, 24), change=changed)


def test_huge_message_and_huge_trace_are_bounded(redis: Any) -> None:
    """The view draws what somebody reads, and says that there is more."""
    headers = {"task": "charge", "id": "m1", "traceparent": TRACEPARENT, "note": "x" * 1_000_000}
    headers |= {f"h{number}": "\n".join("ab") for number in range(400)}
    redis.lpush("orders", json.dumps({"headers": headers}))
    spans = [span("a", "GET /", 0, 5000, trace=TRACE)]
    for number in range(2_999):  # each below the one before
        spans.append(
            process(
                f"{number}", "step", number, 5000, "success", parent=spans[-1].span_id, trace=TRACE
            )
        )

    async def act(view: View) -> None:
        await into_message(view, "m1")
        await view.sees("charge m1")
        await view.press("end")
        await view.sees("the first 500 of 3,000 spans")

    views.run(act, "celery", change=lambda session: replace(session, traces=[lambda _: spans]))


def test_backend_that_fails_is_a_line_and_is_asked_again(redis: Any) -> None:
    """The next answer is shown."""
    fill_celery(redis, "m1")
    answers: list[Any] = [ValueError("http://jaeger:16686: 502 Bad Gateway"), []]

    def ask(_trace_id: str) -> Any:
        answer = answers.pop(0) if answers else [span("a", "send charge", 0, 1, trace=TRACE)]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def act(view: View) -> None:
        await into_message(view, "m1")
        await view.sees("502 Bad Gateway")
        await view.press("r")
        await view.sees(f"nothing of trace {TRACE} has come so far")
        await view.press("r")
        await view.sees("send charge")

    views.run(act, "celery", change=lambda session: replace(session, traces=[ask]), interval="60s")


def test_backend_of_the_command_line_is_asked(redis: Any, backend: Backend) -> None:
    """With Jaeger's API, as the link to it is."""
    fill_celery(redis, "m1")
    backend.answers(JAEGER)

    async def act(view: View) -> None:
        await into_message(view, "m1")
        await view.sees("send charge", "process charge", f"trace {TRACE}")

    views.run(act, "celery", "--backend-url", backend.url)
    assert backend.requests[0][0] == f"/api/traces/{TRACE}"


@pytest.mark.filterwarnings("ignore:.*encode.*:DeprecationWarning")
def test_receiver_shows_what_is_exported_to_it(redis: Any) -> None:
    """Its address is on the screen; over OTLP, as any app exports."""
    fill_celery(redis, "m1")
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    parent = SpanContext(TRACE_ID, SPAN_ID, is_remote=True, trace_flags=TraceFlags(1))
    context = set_span_in_context(NonRecordingSpan(parent))
    tracer = provider.get_tracer("otel_queue_plugins")
    tracer.start_span("process charge", context, SpanKind.CONSUMER).end()
    body = encode_spans(exporter.get_finished_spans()).SerializeToString()

    async def act(view: View) -> None:
        endpoint = view.app.session.receives_at
        assert f"traces at {endpoint}" in view.text
        await into_message(view, "m1")
        await view.sees(f"nothing of trace {TRACE} has come so far")
        assert post(f"{endpoint}/v1/traces", body) == 200
        await view.sees("process charge")

    views.run(act, "celery", "--receive", "0")
    provider.shutdown()
