"""Zero-code: arguments of the instrumentor are used as those of `instrument()`."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest

from otel_queue_plugins.celery.instrumentor import CeleryInstrumentor
from tests.celery.conftest import Telemetry, memory_app, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def instrumentor() -> Iterator[CeleryInstrumentor]:
    """An instrumentor that is not active before and after."""
    made = CeleryInstrumentor()
    yield made
    made.uninstrument()


@pytest.fixture
def own() -> Iterator[Telemetry]:
    """Providers that are not the global ones."""
    telemetry = Telemetry()
    yield telemetry
    telemetry.close()


def test_entry_point_is_the_instrumentor() -> None:
    """As pyproject.toml says."""
    (found,) = entry_points(group="opentelemetry_instrumentor", name="otel_queue_celery")
    assert found.load() is CeleryInstrumentor


def test_instrumentor_uses_providers_and_options_of_call(
    instrumentor: CeleryInstrumentor, own: Telemetry
) -> None:
    """Arguments that are not of `instrument` are ignored."""
    instrumentor.instrument(
        tracer_provider=own.tracer_provider,
        meter_provider=own.meter_provider,
        span_name="queue",
        relations={"audit": "none"},
        skip_dep_check=True,
        unknown=1,
    )
    app = memory_app()

    @app.task(shared=False, name="audit")
    def audit() -> None:
        """Succeeds."""

    with running(app):
        audit.delay()
        sent, processed = own.expect(2)
    queue = app.conf.task_default_queue
    assert [sent.name, processed.name] == [f"send {queue}", f"process {queue}"]
    assert processed.parent is None
    (point,) = own.points("messaging.client.sent.messages")
    assert point.value == 1


def test_second_instrument_keeps_first_providers(
    instrumentor: CeleryInstrumentor, own: Telemetry
) -> None:
    """Whoever calls it again."""
    later = Telemetry()
    instrumentor.instrument(tracer_provider=own.tracer_provider)
    CeleryInstrumentor().instrument(tracer_provider=later.tracer_provider)
    memory_app().send_task("a")
    own.expect(1)
    assert not later.spans()
    later.close()


def test_wrong_setting_is_logged_and_not_raised(
    instrumentor: CeleryInstrumentor, caplog: pytest.LogCaptureFixture
) -> None:
    """There is one line in the log, and nothing is traced."""
    instrumentor.instrument(relation="sibling")
    memory_app().send_task("a")
    (record,) = [r for r in caplog.records if r.name == "otel_queue_plugins"]
    assert "Celery is not instrumented: relation: 'sibling'" in record.getMessage()
