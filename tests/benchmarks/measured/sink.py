"""A collector that keeps what it is sent, in a process of its own; an agent of Datadog's, too.

    python -m tests.benchmarks.measured.sink PORT

`GET /counted` answers with what came since the last time as JSON.
"""

from __future__ import annotations

import gzip
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_PATHS = {"/v1/traces": "traces", "/v1/metrics": "metrics", "/v1/logs": "logs"}
# What Datadog's tracer wants to read; OTLP's exporters read no more than the status.
_AGENT = b'{"rate_by_service": {}, "endpoints": ["/v0.4/traces", "/v0.5/traces"]}'


class Sink(ThreadingHTTPServer):
    """Counts connections and keeps bodies."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.connections = 0
        self.bodies: list[tuple[str, bytes]] = []

    def counted(self) -> dict[str, Any]:
        """Of all since the last call."""
        bodies, self.bodies = self.bodies, []
        connections, self.connections = self.connections, 0
        found = {"requests": len(bodies), "connections": connections}
        return found | _contents([each for each in bodies if each[0] in _PATHS])


class Handler(BaseHTTPRequestHandler):
    """One connection, kept alive."""

    server: Sink
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.is_new = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.bodies.append((self.path, body))
        self.server.connections += self.is_new
        self.is_new = False
        self._answer(b"" if self.path in _PATHS else _AGENT)

    do_PUT = do_POST  # noqa: N815 - the base class looks for this name

    def do_GET(self) -> None:
        is_ours = self.path == "/counted"
        self._answer(json.dumps(self.server.counted()).encode() if is_ours else _AGENT)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def _contents(bodies: list[tuple[str, bytes]]) -> dict[str, int]:
    if not bodies:
        return {}
    from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces

    spans, resources, series = 0, set(), set()
    for path, body in bodies:
        if path == "/v1/traces":
            for each in traces.ExportTraceServiceRequest.FromString(body).resource_spans:
                spans += sum(len(scope.spans) for scope in each.scope_spans)
        elif path == "/v1/metrics":
            for each in metrics.ExportMetricsServiceRequest.FromString(body).resource_metrics:
                resource = each.resource.SerializeToString(deterministic=True)
                resources.add(resource)
                series.update((resource, *found) for found in _series(each))
    return {"spans": spans, "resources": len(resources), "series": len(series)}


def _series(resource_metrics: Any) -> Any:
    for scope in resource_metrics.scope_metrics:
        for metric in scope.metrics:
            for point in getattr(metric, metric.WhichOneof("data")).data_points:
                attributes = sorted(each.SerializeToString() for each in point.attributes)
                yield metric.name, tuple(attributes)


if __name__ == "__main__":
    Sink(int(sys.argv[1])).serve_forever()
