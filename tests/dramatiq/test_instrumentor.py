"""Zero-code instrumentation of every broker, existing or future, without harm where it fails."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import dramatiq
import pytest
from dramatiq.broker import Broker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import default_middleware

from otel_queue_plugins.dramatiq import OpenTelemetryMiddleware
from otel_queue_plugins.dramatiq.instrumentor import DramatiqInstrumentor
from tests.processes import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.dramatiq.conftest import Shop


@pytest.fixture
def instrumentor() -> Iterator[DramatiqInstrumentor]:
    """Return an instrumentor that is not active before or after the test."""
    made = DramatiqInstrumentor()
    yield made
    made.uninstrument()
    dramatiq.broker.global_broker = None


def ours(broker: Broker) -> list[int]:
    """Return the positions of our middleware in the list of a broker."""
    return [i for i, m in enumerate(broker.middleware) if isinstance(m, OpenTelemetryMiddleware)]


def test_entry_point_names_instrumentor() -> None:
    """The entry point in pyproject.toml loads the instrumentor."""
    (found,) = entry_points(group="opentelemetry_instrumentor", name="otel_queue_dramatiq")
    assert found.load() is DramatiqInstrumentor


def test_instrument_covers_brokers_built_later(
    shop: Shop, instrumentor: DramatiqInstrumentor
) -> None:
    """Also those that are given their own list of middleware, by position or by name."""
    instrumentor.instrument(**shop.providers, skip_dep_check=True, unknown=1)
    for broker in (StubBroker(), StubBroker([]), StubBroker(middleware=[])):
        assert ours(broker) == [0]
    shop.broker = StubBroker()
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    assert len(shop.spans()) == 2


def test_instrument_covers_global_broker_built_before(instrumentor: DramatiqInstrumentor) -> None:
    """The order of imports does not matter."""
    broker = StubBroker()
    dramatiq.set_broker(broker)
    instrumentor.instrument()
    assert ours(broker) == [0]


def test_uninstrument_restores_brokers_and_broker_class(instrumentor: DramatiqInstrumentor) -> None:
    """Brokers that are built afterwards are not instrumented."""
    original = vars(Broker)["__init__"]
    instrumentor.instrument()
    broker = StubBroker()
    DramatiqInstrumentor().uninstrument()
    assert vars(Broker)["__init__"] is original
    assert [type(m) for m in broker.middleware] == default_middleware
    assert ours(StubBroker()) == []
    instrumentor.uninstrument()


def test_instrument_twice_adds_one_middleware(instrumentor: DramatiqInstrumentor) -> None:
    """A second call, by whichever instance, changes nothing."""
    instrumentor.instrument()
    DramatiqInstrumentor().instrument()
    assert ours(StubBroker()) == [0]
    instrumentor.uninstrument()
    instrumentor.instrument()
    assert ours(StubBroker()) == [0]


def test_broker_with_our_middleware_keeps_it(instrumentor: DramatiqInstrumentor) -> None:
    """The options that the application chose count."""
    instrumentor.instrument()
    mine = OpenTelemetryMiddleware(relation="link")
    broker = StubBroker(middleware=[mine])
    assert broker.middleware == [mine]


def test_wrong_setting_is_logged_once_and_broker_is_built(
    instrumentor: DramatiqInstrumentor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is raised from the constructor of a broker."""
    monkeypatch.setenv("OTEL_QUEUE_RELATION", "sibling")
    monkeypatch.setenv("OTEL_QUEUE_STRICT", "true")
    instrumentor.instrument()
    broker = StubBroker()
    assert ours(broker) == []
    (record,) = [r for r in caplog.records if r.name == "otel_queue_plugins"]
    assert "Dramatiq is not instrumented: OTEL_QUEUE_RELATION='sibling'" in record.getMessage()


def test_instrument_without_dramatiq_does_not_import_it() -> None:
    """Dramatiq is instrumented when the application imports it."""
    program = (
        "import sys\n"
        "from otel_queue_plugins.dramatiq.instrumentor import DramatiqInstrumentor\n"
        "DramatiqInstrumentor().instrument()\n"
        "assert 'dramatiq' not in sys.modules\n"
        "import dramatiq\n"
        "from dramatiq.brokers.stub import StubBroker\n"
        "assert type(StubBroker().middleware[0]).__name__ == 'OpenTelemetryMiddleware'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
