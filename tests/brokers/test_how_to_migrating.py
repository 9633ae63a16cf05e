"""The how-to about opentelemetry-instrumentation-celery: its table of names, and its code.

On Redis alone: what the page says does not depend on the broker.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from otel_queue_plugins.core import semconv
from tests import pages
from tests.brokers.telemetry_cases import CONSUMED
from tests.brokers.written import write

if TYPE_CHECKING:
    from tests.brokers.harness import Lab

CONTRIB = "opentelemetry.instrumentation.celery"
RENAMED_BY_CONTRIB = {"id", "correlation_id", "routing_key", "declare", "origin"}
on_redis = pytest.mark.parametrize("own_broker", ["redis"], indirect=True)

OLD, NEW = "init_tracing", "\ninstrument()"
CHARGE = """
import otel_queue_plugins
otel_queue_plugins.ensure_providers()

@app.task(name="shop.charge")
def charge(order): ...
"""
IN_PRODUCER = "\nCeleryInstrumentor().instrument()\n"


@on_redis
@pytest.mark.parametrize("moved", ["producer", "worker"])
def test_producer_or_worker_with_contrib_package_shares_trace(moved: str, own_lab: Lab) -> None:
    """Old producers with new workers, or new producers with old workers, make one trace."""
    pytest.importorskip(CONTRIB)
    old, new = (pages.block("how-to/migrating", "python", saying) + CHARGE for saying in (OLD, NEW))
    old_app, new_app = write(own_lab, old + IN_PRODUCER, "old"), write(own_lab, new, "new")
    producer = own_lab.producer(new_app if moved == "producer" else old_app)
    own_lab.celery(new_app if moved == "worker" else old_app)
    sent = producer.run("charge.delay(42)")
    first, second = own_lab.receiver.expect_trace(sent.trace_id, 2)
    assert (first.parent_id, second.parent_id) == (sent.span_id, first.span_id)
    names = {"producer": ("send ", "run/"), "worker": ("apply_async/", "process ")}[moved]
    assert (first.name, second.name) == tuple(f"{name}shop.charge" for name in names)


@on_redis
def test_metrics_beside_contrib_package_leave_its_spans_unchanged(own_lab: Lab) -> None:
    """Our metrics are exported beside its spans, and no span of ours."""
    pytest.importorskip(CONTRIB)
    ours = pages.block("how-to/migrating", "python", "NoOpTracerProvider").replace(
        "app =", "same ="
    )
    code = pages.block("how-to/migrating", "python", OLD) + ours + CHARGE + IN_PRODUCER
    app = write(own_lab, code)
    producer = own_lab.producer(app)
    own_lab.celery(app)
    sent = producer.run("charge.delay(42)")
    own_lab.receiver.expect_total(CONSUMED, 1)
    spans = own_lab.receiver.expect_trace(sent.trace_id, 2)
    assert [span.name for span in spans] == ["apply_async/shop.charge", "run/shop.charge"]


def test_each_name_of_contrib_package_has_row() -> None:
    """The first column has all that it can set, and each name in the second one exists."""
    utils = pytest.importorskip(f"{CONTRIB}.utils")
    keys = {*utils.CELERY_CONTEXT_ATTRIBUTES} - RENAMED_BY_CONTRIB
    old = {f"celery.{key}" for key in keys} | {"celery.action", "celery.task_name"}
    rows = [line.split(" | ") for line in pages.text("how-to/migrating").splitlines()]
    firsts, seconds = (
        {name for row in rows if len(row) > 2 for name in re.findall(r"`([a-z_.]+)`", row[column])}
        for column in (0, 1)
    )
    named = {name for name in firsts if name.startswith("celery.")}
    assert named == old | {"celery.retry.reason"}
    ours = {name for name in seconds if name.startswith(("taskqueue.", "messaging."))}
    assert ours <= {value for value in vars(semconv).values() if isinstance(value, str)}
