"""Single operations that a message is made of: the SDK's, through its public API, and our verbs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry import context, metrics, propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind, set_span_in_context

from tests.benchmarks.measured.core_only import CoreOnly

Operations = dict[str, Callable[[], object]]
NOTHING = "nothing"


def operations() -> Operations:
    """Each operation by its name; the global providers must be set."""
    core = CoreOnly("celery")
    carrier: dict[str, Any] = {}
    core.send("id", carrier, lambda: None)
    return _of_sdk() | {
        "ours: a send, whole": lambda: core.send("id", {}, lambda: None),
        "ours: a delivery, whole": lambda: core.run("id", carrier, lambda: None),
    }


def _of_sdk() -> Operations:
    tracer = trace.get_tracer("parts")
    histogram = metrics.get_meter("parts").create_histogram("parts", "s")
    parent = tracer.start_span("parent")
    current = set_span_in_context(parent, Context())
    carrier: dict[str, Any] = {}
    propagate.inject(carrier, current)
    labels = {f"label{number}": "value" for number in range(4)}

    def span(attributes: int, links: int = 0, late: int = 0) -> Callable[[], object]:
        first = {f"attribute{number}": "value" for number in range(attributes)}
        later = {f"late{number}": "value" for number in range(late)}

        def start_and_end() -> None:
            linked = [Link(parent.get_span_context()) for _ in range(links)]
            made = tracer.start_span("span", current, SpanKind.CONSUMER, first, linked)
            if later:
                made.set_attributes(later)
            made.end()

        return start_and_end

    return {
        NOTHING: lambda: None,
        "span, no attributes": span(0),
        "span, 8 attributes": span(8),
        "span, 8 attributes, a link": span(8, links=1),
        "span, 8 attributes, a link, 8 attributes later": span(8, links=1, late=8),
        "histogram, 4 attributes": lambda: histogram.record(0.1, labels, Context({"k": "v"})),
        "histogram, 4 attributes, in a sampled span": lambda: histogram.record(
            0.1, labels, current
        ),
        "inject": lambda: propagate.inject({}, current),
        "extract": lambda: propagate.extract(carrier, Context()),
        "attach and detach": lambda: context.detach(context.attach(current)),
    }
