"""Each web server from its first request to SIGTERM, without a loss.

No timer is due in such a life: what arrives was recorded from the first moment and sent in the
last. On Redis alone: a web process is the same for every broker.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from tests.brokers import web
from tests.brokers.telemetry_cases import LATER, SENT, in_log_of_ours
from tests.receiver import FaultyReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.brokers.harness import Lab

DURATION, ACTIVE = "http.server.duration", "http.server.active_requests"

pytestmark = pytest.mark.parametrize("broker", ["redis"], indirect=True, scope="module")


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What a server has answered and how it ended; `lab` has received its telemetry."""

    lab: Lab
    server: web.Server
    pages: list[web.Page]
    returncode: int
    log: str


@pytest.fixture(scope="module", params=web.SERVERS)
def life(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Life]:
    """Every process of the server sends, one more page sends nothing; then SIGTERM."""
    server = web.SERVERS[request.param]
    with FaultyReceiver() as receiver:
        own = replace(lab, receiver=receiver)
        site = web.start(own, server, LATER)
        pages = [*site.get_from_all("send", server.processes), site.get("quiet")]
        yield Life(
            lab=own,
            server=server,
            pages=pages,
            returncode=site.process.stop(signal.SIGTERM),
            log=site.process.log,
        )
        own.close()


def test_request_is_trace_with_its_send(life: Life) -> None:
    """Also the first of each process: the server span is the root, the send is its child."""
    *sending, quiet = life.pages
    assert all(int(page.trace_id, 16) for page in life.pages), life.pages
    for page in sending:
        server, send = life.lab.receiver.expect_trace(page.trace_id, 2, timeout=30, settle=0)
        assert (server.kind, send.kind) == ("server", "producer")
        assert (server.parent_id, send.parent_id) == ("", server.span_id)
    (alone,) = life.lab.receiver.expect_trace(quiet.trace_id, 1, timeout=30, settle=0)
    assert alone.kind == "server"
    assert len(life.lab.receiver.spans()) == 2 * len(sending) + 1


def test_requests_and_sends_are_counted(life: Life) -> None:
    """Requests that have ended leave none active."""
    received = life.lab.receiver
    received.expect_total(SENT, len(life.pages) - 1, timeout=30)
    received.expect_total(DURATION, len(life.pages), timeout=30)
    assert len(received.latest_points(ACTIVE)) >= life.server.processes
    assert {point.value for point in received.latest_points(ACTIVE)} == {0}


def test_server_ends_as_without_instrumentation(life: Life) -> None:
    """With its return code, and without a log line of this package or OpenTelemetry."""
    assert life.returncode == life.server.returncode
    assert in_log_of_ours(life.log) == []
