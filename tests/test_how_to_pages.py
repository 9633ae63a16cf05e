"""The code of the how-to pages that needs no broker, run as it is written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from opentelemetry.sdk.trace import TracerProvider

from otel_queue_plugins.core.telemetry import QueueTelemetry
from otel_queue_plugins.dramatiq import instrument
from otel_queue_plugins.sampling import TaskQueueSampler
from tests import pages
from tests.points import points_of

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

OUTCOME = "taskqueue.task.outcome"
PAGES = sorted(
    str(path.relative_to(pages.DOCS).with_suffix("")) for path in pages.DOCS.rglob("*.md")
)
BLOCKS_ABOUT_SAMPLING = pages.blocks("how-to/sampling", "python")


def run(*code: str) -> dict[str, Any]:
    """What blocks of code leave behind."""
    namespace: dict[str, Any] = {"__name__": "page"}
    compiled = compile("\n".join(code), "page", "exec", dont_inherit=True)
    exec(compiled, namespace)  # noqa: S102 - it is the documentation's
    return namespace


@pytest.mark.parametrize("page", PAGES)
def test_python_block_of_page_compiles(page: str) -> None:
    """No block of code has a syntax error."""
    for code in pages.blocks(page, "python"):
        compile(code.replace(">>> ", ""), page, "exec", dont_inherit=True)


@pytest.mark.parametrize("page", PAGES)
def test_variable_on_page_is_in_the_reference(page: str) -> None:
    """Each `OTEL_QUEUE_*` variable of a page is documented."""
    named = set(re.findall(r"\bOTEL_QUEUE_[A-Z_]+\b", pages.text(page)))
    reference = pages.text("reference/configuration")
    assert {name for name in named if f"`{name}`" not in reference} == set()


def test_sampler_of_page_leaves_out_one_task_until_it_fails(
    span_exporter: InMemorySpanExporter,
) -> None:
    """Neither its sends nor its deliveries are kept, unless one fails for good."""
    code = [each.replace("default=0.1", "default=1") for each in BLOCKS_ABOUT_SAMPLING]
    provider = run(*code)["provider_with"](span_exporter)
    broker = StubBroker()
    instrument(broker, tracer_provider=provider)
    fails: list[int] = []

    def beat() -> None:
        if fails:
            raise ValueError

    heartbeat = dramatiq.actor(beat, actor_name="shop.heartbeat", broker=broker, max_retries=0)
    charge = dramatiq.actor(lambda: None, actor_name="charge", broker=broker)
    worker = dramatiq.Worker(broker, worker_timeout=20, worker_threads=1)
    worker.start()
    for send in (heartbeat.send, charge.send, lambda: fails.append(1), heartbeat.send):
        send()
        broker.join("default", timeout=5000, fail_fast=False)
        worker.join()
    worker.stop()
    provider.shutdown()
    names = sorted(span.name for span in span_exporter.get_finished_spans())
    assert names == ["process charge", "process shop.heartbeat", "send charge"]


def test_rules_of_page_are_right() -> None:
    """As they stand there."""
    (block,) = pages.blocks("how-to/sampling", "sh")
    (rules,) = re.findall(r'OTEL_TRACES_SAMPLER_ARG="(.*)"', block)
    assert TaskQueueSampler(rules).keep is not None


def test_the_adapter_of_the_page(
    tracer_provider: TracerProvider,
    meter_provider: MeterProvider,
    span_exporter: InMemorySpanExporter,
    metric_reader: InMemoryMetricReader,
) -> None:
    """One send, one process span for each attempt, and the next one links to the one before."""
    page = run(*pages.blocks("how-to/adapter", "python"))
    answers = iter([OSError("no answer"), None])

    def charge() -> None:
        if (error := next(answers)) is not None:
            raise error

    jobs = page["Jobs"]({"charge": charge})
    page["instrument"](jobs, tracer_provider=tracer_provider, meter_provider=meter_provider)
    jobs.put(page["Job"](id="m1", task="charge"))
    while jobs.waiting:
        jobs.run(jobs.waiting.pop(0))

    send, first, second = span_exporter.get_finished_spans()
    assert [span.name for span in (send, first, second)] == [
        "send charge",
        "process charge",
        "process charge",
    ]
    assert [dict(span.attributes or {})[OUTCOME] for span in (first, second)] == [
        "retry",
        "success",
    ]
    assert {span.parent.span_id for span in (first, second)} == {send.context.span_id}
    assert second.links[-1].context.span_id == first.context.span_id
    (sent,) = points_of(metric_reader, "messaging.client.sent.messages")
    assert sent.value == 1


def test_adapter_page_has_a_row_for_each_verb() -> None:
    """The table of verbs is complete."""
    found = (name for name in dir(QueueTelemetry) if not name.startswith("_"))
    verbs = {name for name in found if callable(getattr(QueueTelemetry, name))}
    assert {verb for verb in verbs if f"`{verb}(" not in pages.text("how-to/adapter")} == set()
