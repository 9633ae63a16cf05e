"""A gevent or eventlet worker goes on while its telemetry waits for a backend that hangs.

On Redis alone: which greenlets wait for the backend does not depend on the broker.
"""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.brokers.telemetry_cases import CELERY
from tests.receiver import Fault, GrpcReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.brokers.harness import Lab

OURS: dict[str, str] = {}
TOLD = {"PROVIDERS": "green"}
LONGEST_GAP_MS = 4000  # a hub that an export stops stands still for 30 s
TASKS = 20
SLOW = {"PYTHONWARNINGS": "ignore", "OTEL_EXPORTER_OTLP_TIMEOUT": "30"}

pytestmark = pytest.mark.parametrize("own_broker", ["redis"], indirect=True)


@pytest.fixture
def grpc_lab(own_lab: Lab) -> Iterator[Lab]:
    """A lab whose processes export over gRPC."""
    with GrpcReceiver() as receiver:
        lab = replace(own_lab, receiver=receiver)
        yield lab
        lab.close()


def test_hanging_backend_over_http_does_not_block_hub(own_lab: Lab) -> None:
    """The sockets of the exporter are green."""
    expect_the_hub_goes_on(own_lab, "gevent", OURS)


@pytest.mark.parametrize(
    ("pool", "env"), [("gevent", OURS), ("eventlet", OURS), ("gevent", TOLD)], ids=str
)
def test_hanging_backend_over_grpc_does_not_block_hub(
    pool: str, env: dict[str, str], grpc_lab: Lab
) -> None:
    """With our providers, or those of a user who follows our warning."""
    expect_the_hub_goes_on(grpc_lab, pool, env)


def expect_the_hub_goes_on(lab: Lab, pool: str, env: dict[str, str]) -> None:
    """Check with a hanging collector: tasks run side by side, none is late, the worker ends."""
    if find_spec(pool) is None:
        pytest.skip(f"{pool} is not installed")
    app = lab.module(CELERY)
    producer = lab.producer(app)
    worker = lab.celery(app, pool=pool, concurrency=TASKS, env={**env, **SLOW})
    lab.receiver.until(lambda: bool(lab.receiver.requests()), "word from the worker")
    lab.receiver.fault = Fault.HANG
    producer.run(f"for n in range({TASKS}): watch.delay(2)")
    worker.wait_for_log("longest gap", count=TASKS, timeout=120)
    gaps = [int(gap) for gap in re.findall(r"longest gap (\d+) ms", worker.log)]
    assert max(gaps) < LONGEST_GAP_MS
    lab.receiver.fault = Fault.OK
    again = producer.run("watch.delay(0.1)")
    lab.receiver.expect_trace(again.trace_id, 2)
