"""Where metrics about the service go, and under which resource."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource

from otel_queue_plugins.sdk.providers.service_metrics import service_metrics
from tests.environment import telemetry_environment
from tests.receiver import Fault, FaultyReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator


class Kept(MetricExporter):
    """An application's exporter."""

    def __init__(self, result: MetricExportResult = MetricExportResult.SUCCESS) -> None:
        super().__init__()
        self.exported: list[Any] = []
        self.result = result

    def export(self, metrics_data: Any, **_: Any) -> Any:
        self.exported.append(metrics_data)
        return self.result

    def force_flush(self, _timeout_millis: float = 0) -> bool:
        return True

    def shutdown(self, **_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[FaultyReceiver]:
    """A backend."""
    with FaultyReceiver() as receiver:
        yield receiver


def observe(provider: Any) -> None:
    """Have one observable gauge."""
    from opentelemetry.metrics import Observation

    meter = provider.get_meter("test")
    meter.create_observable_gauge("depth", [lambda _: [Observation(7)]])


OF_INSTANCE = {
    "service.name": "shop",
    "service.instance.id": "mine",
    "host.name": "node-1",
    "process.pid": 7,
    "k8s.pod.name": "shop-1",
    "k8s.namespace.name": "prod",
}


def test_exporters_of_the_application_are_used_with_its_resource() -> None:
    """Without what tells its instances apart."""
    kept = Kept()
    reader = PeriodicExportingMetricReader(kept, export_interval_millis=3_600_000)
    own = MeterProvider([reader], resource=Resource(OF_INSTANCE), shutdown_on_exit=False)
    found = service_metrics(own)
    assert found is not None
    observe(found.provider)
    assert found.export(5)
    (data,) = kept.exported
    (exported,) = data.resource_metrics
    assert dict(exported.resource.attributes) == {
        "service.name": "shop",
        "k8s.namespace.name": "prod",
    }
    own.shutdown()


def test_export_that_failed_is_no_success() -> None:
    """The command line says so."""
    kept = Kept(MetricExportResult.FAILURE)
    reader = PeriodicExportingMetricReader(kept, export_interval_millis=3_600_000)
    own = MeterProvider([reader], shutdown_on_exit=False)
    found = service_metrics(own)
    assert found is not None
    observe(found.provider)
    assert not found.export(5)
    own.shutdown()


def test_environment_is_used_without_a_provider(receiver: FaultyReceiver) -> None:
    """As for the providers that are set up here."""
    os.environ.update(telemetry_environment(receiver.endpoint, service="shop"))
    os.environ["OTEL_RESOURCE_ATTRIBUTES"] = "service.instance.id=mine,host.name=node-1"
    found = service_metrics()
    assert found is not None
    observe(found.provider)
    assert found.export(5)
    (point,) = receiver.latest_points("depth")
    assert point.resource["service.name"] == "shop"
    assert not {"service.instance.id", "host.name"} & point.resource.keys()
    receiver.fault = Fault.REJECT
    assert not found.export(5)


def test_reader_of_another_kind_reads_the_gauges_itself() -> None:
    """What is scraped has no resource of its own to tell instances apart."""
    reader = InMemoryMetricReader()
    own = MeterProvider([reader], shutdown_on_exit=False)
    found = service_metrics(own)
    assert found is not None
    assert found.provider is own
    assert found.export(1)
    own.shutdown()


def test_without_an_exporter_there_is_nothing() -> None:
    """Nobody would see it."""
    assert service_metrics() is None
