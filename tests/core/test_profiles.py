"""What each profile adds to spans; nothing else, and nothing without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.profiles import PROFILES
from tests.core.conftest import ROUTE

if TYPE_CHECKING:
    from tests.conftest import FakeClock
    from tests.core.conftest import Queue

XRAY: Final = (
    "taskqueue.task.name",
    "messaging.destination.name",
    "taskqueue.task.outcome",
    "taskqueue.task.attempt",
)
ADDED: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "datadog": (
        {
            "operation.name": "celery.send",
            "resource.name": ROUTE.task,
            "span.type": "worker",
        },
        {
            "operation.name": "celery.process",
            "resource.name": ROUTE.task,
            "span.type": "worker",
        },
    ),
    "honeycomb": ({}, {}),
    "newrelic": ({}, {}),
    "sentry": (
        {"sentry.op": "queue.publish"},
        {"sentry.op": "queue.process", "messaging.message.receive.latency": 2500.0},
    ),
    "tempo": ({"peer.service": ROUTE.destination}, {}),
    "xray": ({"aws.xray.annotations": XRAY}, {"aws.xray.annotations": XRAY}),
}


def attributes(queue: Queue, clock: FakeClock) -> list[dict[str, Any]]:
    """Those of a send span, and of the process span of the message 2.5 s later."""
    carrier = queue.send()
    clock.advance(2.5)
    queue.process(carrier)
    return [dict(span.attributes or {}) for span in queue.spans()[-2:]]


@pytest.mark.parametrize("profile", PROFILES)
def test_profile_adds_its_attributes_and_no_others(
    profile: str, queue: Queue, fake_clock: FakeClock
) -> None:
    """To both spans of a message; all that is there without it stays."""
    plain = attributes(queue, fake_clock)
    described = attributes(queue.sibling(profile=profile), fake_clock)
    for before, after, added in zip(plain, described, ADDED[profile], strict=True):
        assert after == before | added


def test_wrong_profile_names_the_choices() -> None:
    """When it is given."""
    with pytest.raises(ValueError, match=r"profile: 'dynatrace' is not one of .*'datadog'"):
        Options(profile="dynatrace")
