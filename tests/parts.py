"""Parts of other makers that tests send to: Datadog's test agent, and rotel, a collector.

Both are on PyPI. The agent wants another version of opentelemetry-proto than the SDK, so that they
have an environment of their own, whose path `TEST_PARTS` names:

    python -m venv /tmp/parts
    /tmp/parts/bin/pip install ddapm-test-agent==1.69.1 rotel==0.0.1a15
    TEST_PARTS=/tmp/parts pytest tests/brokers/test_real_parts.py

tox does so. Without `TEST_PARTS` the tests are skipped; they fail where it names no such place.
"""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.expectations import Expectations
from tests.http_client import Client
from tests.services import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.processes import ManagedProcess, Processes

_SESSION: Final = "x-datadog-test-session-token"
_BLOCK: Final = re.compile(r"^Resource(?:Spans|Metrics) #\d+$", re.MULTILINE)
_ITEM: Final = re.compile(r"^(?:Span|Metric) #\d+$", re.MULTILINE)
_ATTRIBUTE: Final = re.compile(r"^ +-> ([\w.]+): Str\((.*)\)$", re.MULTILINE)
_FACT: Final = re.compile(r"^ +(?:-> )?(\w[\w ]*?) *: (.*)$", re.MULTILINE)


def find(pattern: str) -> str:
    """A file of the environment `TEST_PARTS`; without that the test is skipped."""
    place = os.environ.get("TEST_PARTS")
    if not place:
        pytest.skip("TEST_PARTS names no environment with ddapm-test-agent and rotel")
    found = next(Path(place).glob(pattern), None)
    assert found is not None, f"TEST_PARTS={place} has no {pattern}"
    return str(found)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a part takes OTLP."""

    http: int = field(default_factory=free_port)
    grpc: int = field(default_factory=free_port)

    def way(self, signal: str, protocol: str, compression: str) -> dict[str, str]:
        """The variables that send a signal there in this way."""
        is_http = protocol == "http/protobuf"
        port, path = (self.http, f"/v1/{signal}") if is_http else (self.grpc, "")
        values = {
            "ENDPOINT": f"http://127.0.0.1:{port}{path}",
            "PROTOCOL": protocol,
            "COMPRESSION": compression,
        }
        return {f"OTEL_EXPORTER_OTLP_{signal.upper()}_{key}": each for key, each in values.items()}


@dataclass(frozen=True, slots=True)
class DatadogAgent:
    """Datadog's test agent, which keeps sessions apart by a header of each request."""

    ports: Ports
    session: str = "shop"

    @classmethod
    def start(cls, processes: Processes) -> DatadogAgent:
        """Start one that answers."""
        agent = cls(Ports())
        processes.start(
            "ddapm-test-agent",
            [
                find("bin/ddapm-test-agent"),
                f"--port={free_port()}",
                f"--otlp-http-port={agent.ports.http}",
                f"--otlp-grpc-port={agent.ports.grpc}",
            ],
        )
        Client(agent.ports.http).until(f"/test/session/start?{agent._token}", 200)
        return agent

    @property
    def header(self) -> str:
        """What a request needs to have to belong to the session, as `name=value`."""
        return f"{_SESSION}={self.session}"

    def headers(self, path: str) -> list[dict[str, str]]:
        """The headers of each request to a path, their names in lower case."""
        return [
            {name.lower(): value for name, value in each["headers"].items()}
            for each in self._ask("requests")
            if each["url"].endswith(path)
        ]

    def received(self) -> Expectations:
        """The spans and metrics of the session until now."""
        kinds = {"traces": ExportTraceServiceRequest, "metrics": ExportMetricsServiceRequest}
        received = Expectations()
        for what, kind in kinds.items():
            for each in self._ask(what):
                received.add(json_format.ParseDict(each, kind()))
        return received

    def until(self, is_true: Callable[[Expectations], bool], timeout: float = 40) -> Expectations:
        """What it has received when a condition on that is true."""
        deadline = time.monotonic() + timeout
        while not is_true(received := self.received()):
            assert time.monotonic() < deadline, [each.name for each in received.spans()]
            time.sleep(0.2)
        return received

    @property
    def _token(self) -> str:
        return f"test_session_token={self.session}"

    def _ask(self, what: str) -> Any:
        reply = Client(self.ports.http).get(f"/test/session/{what}?{self._token}")
        assert reply.status == 200, reply
        return json.loads(reply.body)


@dataclass(frozen=True, slots=True)
class Rotel:
    """A collector between the processes under test and the agent. It logs what it takes."""

    ports: Ports
    process: ManagedProcess

    @classmethod
    def start(cls, processes: Processes, directory: Path, agent: DatadogAgent) -> Rotel:
        """Start one that listens."""
        ports = Ports()
        process = processes.start(
            "rotel",
            [
                find("lib/python*/site-packages/rotel/rotel-agent"),
                "start",
                f"--pid-file={directory / 'rotel.pid'}",
                f"--otlp-http-endpoint=127.0.0.1:{ports.http}",
                f"--otlp-grpc-endpoint=127.0.0.1:{ports.grpc}",
                *("--debug-log=traces", "--debug-log=metrics", "--debug-log-verbosity=detailed"),
                *("--exporter=otlp", "--otlp-exporter-protocol=http"),
                f"--otlp-exporter-endpoint=http://127.0.0.1:{agent.ports.http}",
                f"--otlp-exporter-custom-headers={agent.header}",
            ],
        )
        process.wait_for_log("Starting Rotel", timeout=30)
        Client(ports.http).until("/", 404)
        return cls(ports, process)

    def items(self) -> Iterator[dict[str, str]]:
        """The facts that it has logged of each span and metric, with `service` of its resource."""
        for block in _BLOCK.split(self.process.log)[1:]:
            resource, *items = _ITEM.split(block)
            service = dict(_ATTRIBUTE.findall(resource))["service.name"]
            for item in items:
                facts = dict(reversed(_FACT.findall(item)))  # those of events come later
                yield {**facts, **dict(_ATTRIBUTE.findall(item)), "service": service}

    def spans(self) -> set[tuple[str, str, str, str]]:
        """Service, name, kind, and what Datadog would call the resource."""
        return {
            (each["service"], each["Name"], each["Kind"], each.get("resource.name", ""))
            for each in self.items()
            if "Kind" in each
        }

    def temporalities(self) -> dict[str, str]:
        """Of each sum and histogram, by name."""
        return {
            each["Name"]: each["AggregationTemporality"]
            for each in self.items()
            if "AggregationTemporality" in each
        }
