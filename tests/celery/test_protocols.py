"""Messages of the older task protocol."""

from __future__ import annotations

from typing import Any

from celery import chain, chord

from tests.celery.conftest import ids, instrumenting, linked_ids, memory_app, running


def test_message_of_protocol_1_is_traced_both_ways() -> None:
    """Its headers are an empty dict at first, and reach the worker under another name."""
    app = memory_app(task_protocol=1)

    @app.task(shared=False, name="old", bind=True, max_retries=2)
    def old(self: Any, *_: Any) -> None:
        if self.request.retries < 1:
            raise self.retry(countdown=0)

    @app.task(shared=False, name="add")
    def add(*numbers: Any) -> int:
        return len(numbers)

    with instrumenting() as telemetry, running(app):
        old.apply_async(otel_relation="link")
        sent, first, second = telemetry.expect(3)
        assert first.parent is second.parent is None
        assert linked_ids(first) == [ids(sent)]
        assert linked_ids(second) == [ids(sent), ids(first)]
        assert "taskqueue.task.wait" in second.attributes
        telemetry.exporter.clear()
        chain(add.s(1), add.s(1), add.s(1)).delay().get(timeout=60, interval=0.01)
        assert len({ids(span)[0] for span in telemetry.expect(6)}) == 1
        telemetry.exporter.clear()
        chord([add.s(1), add.s(2)], old.s()).delay()
        spans = telemetry.expect(7)
        assert len({ids(span)[0] for span in spans}) == 1
        assert len({ids(span) for span in spans}) == 7
        body = telemetry.spans("process old")[0]
        headers = [ids(span) for span in telemetry.spans("send add")]
        assert linked_ids(body) == headers
        add.apply_async((1,), headers={"celery_beat_task": True})
        ticked = telemetry.expect(3, "process add")[-1]
        assert ticked.attributes["taskqueue.task.trigger"] == "schedule"
