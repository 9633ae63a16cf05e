"""What the how-tos show and what needs no broker, run as it is written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from otel_queue_plugins.dramatiq import instrument
from tests import pages

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

PAGES = sorted(
    str(path.relative_to(pages.DOCS).with_suffix("")) for path in pages.DOCS.rglob("*.md")
)


def run(*code: str) -> dict[str, Any]:
    """What blocks of code leave behind."""
    namespace: dict[str, Any] = {"__name__": "page"}
    compiled = compile("\n".join(code), "page", "exec", dont_inherit=True)
    exec(compiled, namespace)  # noqa: S102 - it is the documentation's
    return namespace


@pytest.mark.parametrize("page", PAGES)
def test_python_on_a_page_is_python(page: str) -> None:
    """No block of code has a syntax error."""
    for code in pages.blocks(page, "python"):
        compile(code.replace(">>> ", ""), page, "exec", dont_inherit=True)


@pytest.mark.parametrize("page", PAGES)
def test_variables_on_a_page_exist(page: str) -> None:
    """Each of ours that a page names is in the reference."""
    named = set(re.findall(r"\bOTEL_QUEUE_[A-Z_]+\b", pages.text(page)))
    reference = pages.text("reference/configuration")
    assert {name for name in named if f"`{name}`" not in reference} == set()


def test_the_sampler_of_the_page(span_exporter: InMemorySpanExporter) -> None:
    """It leaves one task out, on both sides, and asks the other sampler about the rest."""
    sampler = run(*pages.blocks("how-to/sampling", "python"))["LeaveOut"]
    provider = TracerProvider(sampler=sampler({"heartbeat"}, ALWAYS_ON), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(span_exporter))
    broker = StubBroker()
    instrument(broker, tracer_provider=provider)
    heartbeat, charge = (
        dramatiq.actor(lambda: None, actor_name=name, broker=broker)
        for name in ("heartbeat", "charge")
    )
    worker = dramatiq.Worker(broker, worker_timeout=20, worker_threads=1)
    worker.start()
    heartbeat.send()
    charge.send()
    broker.join("default", timeout=5000)
    worker.join()
    worker.stop()
    names = [span.name for span in span_exporter.get_finished_spans()]
    assert names == ["send charge", "process charge"]
