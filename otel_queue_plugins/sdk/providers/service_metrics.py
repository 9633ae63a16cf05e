"""Metrics about a whole service: exported without what tells its instances apart.

Whichever instance reports them, they are the same series.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry import metrics

from otel_queue_plugins.core.metrics.observed import is_proxy
from otel_queue_plugins.sdk import global_providers, instance_id
from otel_queue_plugins.sdk.config import plan as plans
from otel_queue_plugins.sdk.process import forks

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource

_OF_AN_INSTANCE: Final = ("process.", "host.", "container.", "k8s.pod.", "k8s.node.", "thread.")


class ServiceMetrics:
    """A meter provider, and how what it observes is exported.

    `export` is called with a time in seconds, and returns whether everything was exported in it.
    """

    def __init__(self, provider: MeterProvider, export: Callable[[float], bool]) -> None:
        self.provider = provider
        self.export = export


def service_metrics(provider: MeterProvider | None = None) -> ServiceMetrics | None:
    """What exports the metrics of the service; None where the environment names no exporter.

    `provider` is the meter provider that the process uses, None for the one that the environment
    asks for. If the application has set it, its exporters are used, with its resource; if it is
    read by scraping or by other means, the metrics are made with `provider` itself.
    """
    if provider is None or is_proxy(provider) or _is_ours(provider):
        found = _of_environment()
        return found if found or provider is None or is_proxy(provider) else _scraped(provider)
    return _of_application(provider) or _of_environment() or _scraped(provider)


def with_scraped() -> ServiceMetrics | None:
    """For a process of its own: an exporter that is scraped; None if the environment has none."""
    from otel_queue_plugins.sdk.providers import setup

    setup.ensure_providers("metrics")
    provider = global_providers.current_provider("metrics")
    return _scraped(provider) if _is_ours(provider) else None


def _is_ours(provider: object) -> bool:
    return provider is global_providers.OWN.get("metrics")


def _of_environment() -> ServiceMetrics | None:
    """With exporters of our own, from `OTEL_*`; one that is scraped would need its port twice."""
    plan = plans.read(os.environ)
    pushed = [each for each in plan.exporters.get("metrics", ()) if _is_pushed(each)]
    if not pushed:
        return None
    from otel_queue_plugins.sdk.providers import factory

    exports = [_Export(_exporter(choice), None) for choice in pushed]
    return _made(exports, factory.resource())


def _is_pushed(choice: Any) -> bool:
    from opentelemetry.sdk.metrics.export import MetricExporter

    from otel_queue_plugins.sdk.providers import factory

    if not isinstance(choice, str):
        return True
    component = factory.component("metrics", choice)
    return isinstance(component, type) and issubclass(component, MetricExporter)


def _exporter(choice: Any) -> Any:
    """An exporter for this process alone, of which no child is forked that uses it."""
    from otel_queue_plugins.sdk.export import otlp_exporters
    from otel_queue_plugins.sdk.providers import factory

    if isinstance(choice, str):
        return factory.component("metrics", choice)()
    return otlp_exporters.metric_exporter(choice)


def _of_application(provider: Any) -> ServiceMetrics | None:
    """With the exporters of the application's periodic readers, which have no public name."""
    from opentelemetry.sdk.resources import Resource

    from otel_queue_plugins.sdk.process import fork_repair

    exports = [
        _Export(exporter, getattr(reader, "_export_lock", None))
        for reader in getattr(provider, "_metric_readers", ())
        if callable(getattr(exporter := getattr(reader, "_exporter", None), "export", None))
    ]
    resource = fork_repair.resource_of(provider) or Resource.create()
    return _made(exports, resource) if exports else None


def _made(exports: list[_Export], resource: Resource) -> ServiceMetrics:
    from otel_queue_plugins.sdk.relay.metrics_export import AskedReader
    from otel_queue_plugins.sdk.relay.providing import WorkerMeterProvider

    readers: Any = [AskedReader(cast("Any", each), {}, {}) for each in exports]
    provider = WorkerMeterProvider(
        metric_readers=readers, resource=without_instance(resource), shutdown_on_exit=False
    )
    forks.keep_exporting(provider)

    def export(seconds: float) -> bool:
        provider.force_flush(seconds * 1000)
        return all(each.has_succeeded for each in exports)

    return ServiceMetrics(provider, export)


def _scraped(provider: MeterProvider) -> ServiceMetrics | None:
    """Whoever reads `provider` reads these, too."""
    if isinstance(provider, metrics.NoOpMeterProvider):
        return None
    return ServiceMetrics(provider, lambda _seconds: True)


def without_instance(resource: Resource) -> Resource:
    """`resource` without what describes one process, its host or its container."""
    from opentelemetry.sdk.resources import Resource

    kept = {
        key: value
        for key, value in resource.attributes.items()
        if key != instance_id.KEY and not key.startswith(_OF_AN_INSTANCE)
    }
    return Resource(kept, resource.schema_url)


class _Export:
    """An exporter, of which `lock` allows one export at a time: another reader may use it, too."""

    def __init__(self, exporter: Any, lock: Any) -> None:
        self._exporter = exporter
        self._lock = lock or threading.Lock()
        self.has_succeeded = True

    def export(self, data: Any, timeout_millis: float) -> None:
        """Export `data`, when the other export has ended; not at all if that takes too long."""
        self.has_succeeded = False
        if not self._lock.acquire(timeout=timeout_millis / 1000):
            return
        try:
            result = self._exporter.export(data, timeout_millis=timeout_millis)
            self.has_succeeded = result.name == "SUCCESS"
        finally:
            self._lock.release()
