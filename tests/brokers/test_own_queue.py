"""The example of a queue of one's own, run by the commands of its README on real Redis."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.environment import clean_environment, telemetry_environment
from tests.receiver import FaultyReceiver

EXAMPLE = Path(__file__).parents[2] / "example_projects" / "own_queue"


def test_messages_of_own_queue_are_traces_from_send_to_last_attempt(redis_url: str) -> None:
    """A success, a retry and a dead letter, each one trace over two processes."""
    commands = re.findall(r"^ +OTEL_SERVICE_NAME=(\S+) \S+/python (.*)$", readme(), re.MULTILINE)
    assert [service for service, _ in commands] == ["shop-web", "shop-worker"]
    with FaultyReceiver() as receiver:
        for service, command in commands:
            env = clean_environment(BROKER_URL=redis_url)
            env |= telemetry_environment(receiver.endpoint, service=service)
            subprocess.run(
                [sys.executable, *command.split()], env=env, cwd=EXAMPLE, check=True, timeout=60
            )
        receiver.wait_for(lambda: len(receiver.spans()) >= 21, timeout=20)
        spans = receiver.spans()
    found = Counter(
        (span.name, span.attributes.get("taskqueue.task.outcome"), span.service) for span in spans
    )
    assert {key: count for key, count in found.items() if key[0].endswith(" resize")} == {
        ("send resize", None, "shop-web"): 3,
        ("process resize", "success", "shop-worker"): 2,
        ("process resize", "retry", "shop-worker"): 3,
        ("process resize", "dead_letter", "shop-worker"): 1,
    }
    assert found["read the image", None, "shop-worker"] == 6
    assert len({span.trace_id for span in spans}) == 3


def readme() -> str:
    """The text of the example's README."""
    return (EXAMPLE / "README.md").read_text()
