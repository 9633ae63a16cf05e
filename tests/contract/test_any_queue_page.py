"""The code of the how-to about a queue of one's own, run as it is written."""

from __future__ import annotations

from typing import Any

from opentelemetry import metrics, trace

from tests import pages


def test_queue_of_page_retries_in_one_trace(
    tracer_provider: Any, meter_provider: Any, span_exporter: Any
) -> None:
    """A send and two attempts."""
    trace.set_tracer_provider(tracer_provider)
    metrics.set_meter_provider(meter_provider)
    page: dict[str, Any] = {"__name__": "page"}
    for block in pages.blocks("how-to/any-queue", "python"):
        exec(block, page)  # noqa: S102 - it is the documentation's
    waiting: list[Any] = []
    page["send"](waiting.append)

    def work() -> None:
        if waiting.clear() or message.get("attempt", 1) == 1:
            raise TimeoutError
        page["thumbnail"]("cat.png")

    message = waiting[0]
    page["run"](message, work, waiting.append)
    message = waiting[0]
    page["run"](message, work, waiting.append)
    spans = span_exporter.get_finished_spans()
    assert [span.name for span in spans] == [
        *("send resize", "process resize", "read", "page.thumbnail", "process resize")
    ]
    assert len({span.context.trace_id for span in spans}) == 1
