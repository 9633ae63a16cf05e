"""The environment of the demo's processes: what an operator would set, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from otel_queue_plugins.cli.demo.brokers import DemoBroker

_NAMESPACE = "service.namespace=otel-queue-demo"
_KEPT = ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",)


def environment_for(
    service: str, *, endpoint: str, broker: DemoBroker, queue: str, base: Mapping[str, str]
) -> dict[str, str]:
    """`base` with `OTEL_*` replaced by settings that send everything to `endpoint` soon."""
    kept = {
        name: value for name, value in base.items() if not name.startswith("OTEL_") or name in _KEPT
    }
    resource = ",".join(filter(None, (base.get("OTEL_RESOURCE_ATTRIBUTES"), _NAMESPACE)))
    no_proxy = ",".join(filter(None, (base.get("NO_PROXY"), "127.0.0.1")))
    return {
        **kept,
        **broker.environment,
        "DEMO_BROKER_URL": broker.url,
        "DEMO_QUEUE": queue,
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "PYTHONUNBUFFERED": "1",
        "OTEL_SERVICE_NAME": service,
        "OTEL_RESOURCE_ATTRIBUTES": resource,
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
    }
