"""A declarative configuration for tests: `OTEL_CONFIG_FILE`, sent to a receiver soon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

TRACES: Final = """
tracer_provider:
  processors:
    - batch:
        schedule_delay: 100
        exporter:
          {exporter}:
            endpoint: {endpoint}{traces}
"""
METRICS: Final = """
meter_provider:
  readers:
    - periodic:
        interval: 500
        exporter:
          {exporter}:
            endpoint: {endpoint}{metrics}
"""
LOGS: Final = """
logger_provider:
  processors:
    - batch:
        schedule_delay: 100
        exporter:
          {exporter}:
            endpoint: {endpoint}{logs}
"""
PROPAGATOR: Final = """
propagator:
  composite:
    - tracecontext: {{}}
    - baggage: {{}}
"""
RESOURCE: Final = """
resource:
  attributes:
    - name: service.name
      value: from-file
"""
ALL: Final = (RESOURCE, PROPAGATOR, TRACES, METRICS, LOGS)


def write(
    path: Path, *parts: str, endpoint: str = "http://127.0.0.1:9", protocol: str = "http/protobuf"
) -> dict[str, str]:
    """Write the file of these parts, all if none is given; the environment that names it."""
    is_http = protocol == "http/protobuf"
    text = "".join(parts or ALL).format(
        endpoint=endpoint,
        exporter="otlp_http" if is_http else "otlp_grpc",
        **{each: f"/v1/{each}" if is_http else "" for each in ("traces", "metrics", "logs")},
    )
    path.write_text(f'file_format: "1.0"\n{text}')
    return {"OTEL_CONFIG_FILE": str(path)}
