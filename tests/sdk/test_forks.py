"""A child that is forked at any moment exports, counts from zero, and has its own instance id."""

from __future__ import annotations

import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from otel_queue_plugins.sdk.process import forks
from tests.receiver import Fault

if TYPE_CHECKING:
    from tests.expectations import Expectations
    from tests.sdk.conftest import Programs, Receiver

pytestmark = pytest.mark.slow

CHILDREN = 50
KIN = ("child-0", "child-1", "child-2", "grandchild")
whose_providers = pytest.mark.parametrize("whose", ["ours", "user"])


def instances(receiver: Expectations, who: str) -> set[str]:
    """The `service.instance.id`s under which `who` counted work."""
    return {
        str(point.resource["service.instance.id"])
        for point in receiver.latest_points("work", who=who)
    }


@whose_providers
@pytest.mark.parametrize("before", ["pending", "flushed"])
@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_forked_children_count_from_zero(
    programs: Programs,
    receiver: Receiver,
    protocol: str,
    whose: str,
    before: str,
    temporality: str,
) -> None:
    """The parent alone exports what was recorded before the fork, once, flushed or not."""
    program = programs.start(
        "generations",
        whose,
        before,
        endpoint=receiver.endpoint,
        protocol=protocol,
        OTEL_METRIC_EXPORT_INTERVAL="60000",
        OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=temporality,
    )
    assert program.wait() == 0
    names = sorted(span.name for span in receiver.spans())
    assert names == sorted([*KIN, "parent", "parent"])
    sent = [point for point in receiver.points() if point.name == "work"]
    for who in KIN:
        assert [point.value for point in sent if point.attributes["who"] == who] == [1]
    parents = [point.value for point in sent if point.attributes["who"] == "parent"]
    expected = {
        ("pending", "cumulative"): [15],
        ("pending", "delta"): [15],
        ("flushed", "cumulative"): [10, 15],
        ("flushed", "delta"): [10, 5],
    }
    assert parents == expected[before, temporality]


@whose_providers
def test_forked_processes_have_different_instance_ids(
    programs: Programs, receiver: Receiver, protocol: str, whose: str
) -> None:
    """All telemetry of a process has one id, and no other process has the same."""
    program = programs.start(
        "generations", whose, "pending", endpoint=receiver.endpoint, protocol=protocol
    )
    assert program.wait() == 0
    ids = {who: instances(receiver, who) for who in (*KIN, "parent")}
    assert all(len(found) == 1 for found in ids.values())
    assert len(set.union(*ids.values())) == len(ids)
    for span in receiver.spans():
        assert {span.resource["service.instance.id"]} == ids[span.name]


@whose_providers
def test_configured_instance_id_becomes_the_prefix_in_children(
    programs: Programs, receiver: Receiver, protocol: str, whose: str
) -> None:
    """The parent has the id itself; every descendant appends its pid and six hex digits."""
    program = programs.start(
        "generations",
        whose,
        "pending",
        endpoint=receiver.endpoint,
        protocol=protocol,
        OTEL_RESOURCE_ATTRIBUTES="service.instance.id=pod-7",
    )
    assert program.wait() == 0
    assert instances(receiver, "parent") == {"pod-7"}
    for who in KIN:
        (instance,) = instances(receiver, who)
        assert re.fullmatch(r"pod-7-\d+-[0-9a-f]{6}", instance)


def test_child_forked_before_set_up_has_its_own_instance_id(
    programs: Programs, receiver: Receiver, protocol: str
) -> None:
    """Its providers are built after the fork, as in a pool process; the id is a prefix."""
    program = programs.start(
        "late_set_up",
        endpoint=receiver.endpoint,
        protocol=protocol,
        OTEL_RESOURCE_ATTRIBUTES="service.instance.id=pod-7",
    )
    assert program.wait() == 0
    ids = [instance for number in range(2) for instance in instances(receiver, f"child-{number}")]
    assert len(set(ids)) == 2
    assert all(re.fullmatch(r"pod-7-\d+-[0-9a-f]{6}", instance) for instance in ids)


@whose_providers
def test_forked_processes_share_no_connection(programs: Programs, whose: str) -> None:
    """Two writers on one TCP connection corrupt each other's requests."""
    seen: dict[int, set[str]] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            names = {name for name in (*KIN, "parent") if name.encode() in body}
            seen.setdefault(self.client_address[1], set()).update(names)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        program = programs.start("generations", whose, "flushed", endpoint=endpoint)
        assert program.wait() == 0
        server.shutdown()
    assert set.union(*seen.values()) == {*KIN, "parent"}
    assert {len(names) for names in seen.values()} == {1}


@whose_providers
def test_all_children_of_a_fork_storm_export(
    programs: Programs, receiver: Receiver, protocol: str, whose: str
) -> None:
    """50 forks while the parent exports to a hanging collector: every child exports in the end."""
    receiver.fault = Fault.HANG
    storm = programs.start("storm", whose, endpoint=receiver.endpoint, protocol=protocol)
    storm.wait_for_log("forked", timeout=60)
    receiver.fault = Fault.OK
    storm.stdin.write(b"go\n")
    storm.stdin.close()
    assert storm.wait(90) == 0
    everybody = {f"child-{number}" for number in range(CHILDREN)}
    names = [span.name for span in receiver.spans() if span.name.startswith("child")]
    assert sorted(names) == sorted(everybody)
    counted = [
        point
        for point in receiver.latest_points("work")
        if str(point.attributes["who"]).startswith("child")
    ]
    assert sorted(str(point.attributes["who"]) for point in counted) == sorted(everybody)
    assert {point.value for point in counted} == {1}


def test_all_children_of_a_fork_storm_export_with_grpc_fork_support(programs: Programs) -> None:
    """GRPC_ENABLE_FORK_SUPPORT=1 alone hangs in a child whose parent is inside a call."""
    from tests.receiver import GrpcReceiver

    with GrpcReceiver() as receiver:
        receiver.fault = Fault.HANG
        storm = programs.start(
            "storm",
            "user",
            endpoint=receiver.endpoint,
            protocol="grpc",
            GRPC_ENABLE_FORK_SUPPORT="1",
        )
        storm.wait_for_log("forked", timeout=60)
        receiver.fault = Fault.OK
        storm.stdin.write(b"go\n")
        storm.stdin.close()
        assert storm.wait(90) == 0
        names = {span.name for span in receiver.spans() if span.name.startswith("child")}
        assert len(names) == CHILDREN


@pytest.mark.parametrize(
    ("facts", "runs"),
    [
        ({"worker_id": 0, "mule_id": 0, "i_am_the_spooler": False}, False),
        ({"worker_id": 2, "mule_id": 0, "i_am_the_spooler": False}, True),
        ({"worker_id": 0, "mule_id": 1, "i_am_the_spooler": False}, True),
        ({"worker_id": 0, "mule_id": 0, "i_am_the_spooler": True}, True),
        ({"worker_id": 0, "opt": {"py-call-uwsgi-fork-hooks": True}}, True),
        ({"worker_id": 0, "opt": {"py-call-osafterfork": True}}, False),
        ({}, False),
    ],
)
def test_uwsgi_master_is_distinguished_from_its_workers(
    facts: dict[str, Any], runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The master's forks run no hooks of Python, unless it is configured to run them."""
    assert forks.runs_hooks()
    server = ModuleType("uwsgi")
    for name, value in facts.items():
        setattr(server, name, value if name == "opt" else lambda value=value: value)
    monkeypatch.setitem(sys.modules, "uwsgi", server)
    assert forks.runs_hooks() is runs
