"""Draws the pictures of `otel-queue top` in the documentation, out of queues that are made up.

`python -m tests.top_pictures` writes them into docs/how-to/.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import fakeredis

from otel_queue_plugins.brokers.answers import queue_state
from otel_queue_plugins.cli.main import make_parser
from otel_queue_plugins.cli.queues import access
from otel_queue_plugins.cli.top.app import TopApp
from otel_queue_plugins.cli.top.command import session_of
from otel_queue_plugins.cli.top.workers import FoundWorkers
from tests.cli.queue_commands import reader_of
from tests.cli.spans import process, span
from tests.cli.top.views import View
from tests.environment import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otel_queue_plugins.brokers.facts import QueueState
    from otel_queue_plugins.cli.received import ReceivedSpan
    from otel_queue_plugins.cli.top.session import Session

PLACE: Final = ROOT / "docs" / "how-to"
SIZE: Final = (110, 26)
# How many are ready and dead, and how old the oldest is.
QUEUES: Final = {
    "emails": (3, 0, 1),
    "exports": (0, 0, 0),
    "orders": (37, 4, 96),
    "reports": (12, 0, 2),
}
TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4739"
TASKS: Final = ("shop.charge", "shop.reserve", "shop.ship")
_FONTS: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def draw(place: Path) -> None:
    """Write the pictures."""
    redis = fakeredis.FakeRedis()
    _fill(redis)

    def made(_url: str, framework: str, **_options: Any) -> Any:
        return reader_of(framework, redis, queues=tuple(QUEUES))

    target = ["top", "--url", "redis://broker/0", "--framework", "dramatiq", "--interval", "60s"]
    parsed = make_parser().parse_args([*target, "--write"])
    with mock.patch.object(access, "reader_of_url", made), session_of(parsed) as session:
        ours = replace(session, workers=_Workers(), traces=[lambda _: _trace()])
        _remember(ours)
        asyncio.run(_run(ours, place))
    redis.close()


async def _run(session: Session, place: Path) -> None:
    app = TopApp(session)

    def keep(name: str) -> None:
        picture = _FONTS.sub("", app.export_screenshot(title="otel-queue top"))
        (place / f"top-{name}.svg").write_text(picture)

    async with app.run_test(size=SIZE) as pilot:
        view = View(pilot)
        await view.sees("orders", "shop-1")
        await view.press("down", "down")
        keep("queues")
        await view.press("enter", "4")
        await view.sees("shop.charge")
        await view.press("down")
        keep("messages")
        await view.press("enter")
        await view.sees("process shop.charge")
        keep("message")
        await view.press("R")
        await view.sees("Requeue 1 dead letter")
        keep("question")


def _fill(redis: Any) -> None:
    now = time.time()
    for queue, (ready, dead, age) in QUEUES.items():
        for number in range(ready):
            redis.rpush(f"dramatiq:{queue}", f"r{number}")
            redis.hset(f"dramatiq:{queue}.msgs", f"r{number}", _body(number, now - age))
        for number in range(dead):
            redis.zadd(f"dramatiq:{queue}.XQ", {f"d{number}": (now - 300) * 1000 + number})
            body = _body(3 * number, now - 640 + 60 * number, retries=3)
            redis.hset(f"dramatiq:{queue}.XQ.msgs", f"d{number}", body)


def _body(number: int, sent_at: float, **options: Any) -> str:
    carrier = {"traceparent": f"00-4bf92f3577b34da6a3ce929d0e0e{4736 + number}-00f067aa0ba902b7-01"}
    facts = {
        "message_id": f"7f3c9d4e-52a1-4be0-9c1{number % 10}-8f8e2f1d{number:04}",
        "actor_name": TASKS[number % len(TASKS)],
        "message_timestamp": int(sent_at * 1000),
    }
    return json.dumps({**facts, "args": [], "kwargs": {}, "options": {"otel": carrier, **options}})


def _remember(session: Session) -> None:
    for step in range(40):
        session.numbers.history.add([_state(name, step) for name in QUEUES])


def _state(name: str, step: int) -> QueueState:
    wave = {"emails": 4 + 3 * math.sin(step / 3), "orders": step**1.6 / 9, "reports": 12.0}
    ready = round(wave.get(name, 0))
    numbers = {"delayed": 0, "unacked": 0, "dead": 0, "abandoned": 0, "consumers": 1}
    age = {"orders": 2.4 * step, "emails": 1 + math.sin(step / 3)}.get(name, 0.1 * ready)
    return queue_state(
        name, "redis", ready=ready, oldest_age_s=age, oldest_unacked_age_s=0.0, **numbers
    )


def _trace() -> Sequence[ReceivedSpan]:
    return list(_spans())


def _spans() -> Iterator[ReceivedSpan]:
    web: dict[str, Any] = {"service": "shop-web", "trace": TRACE}
    yield span("a", "POST /orders", 0, 46, kind="server", **web)
    yield span("b", "send shop.charge", 30, 34, parent="a", kind="producer", **web)
    outcomes = ("retry", "retry", "retry", "dead letter")
    for attempt, outcome in enumerate(outcomes, 1):
        begin = 90 + 420 * (attempt - 1)
        yield process(
            f"p{attempt}",
            "shop.charge",
            begin,
            begin + 120,
            outcome.replace(" ", "_"),
            parent="b",
            attempt=attempt,
            wait=0.05,
            trace=TRACE,
        )
    yield span(
        "r",
        "GET payments",
        1370,
        1460,
        parent="p4",
        kind="client",
        service="worker",
        status="error",
        trace=TRACE,
    )


class _Workers:
    """Two that work."""

    def ask(self) -> FoundWorkers:
        return FoundWorkers(stats=(_stats("shop-1", 3, 4), _stats("shop-2", 4, 2)), problems=())


def _stats(name: str, running: int, reserved: int) -> dict[str, Any]:
    return {
        "worker": name,
        "framework": "dramatiq",
        "versions": {"otel_queue_plugins": "0.1.0", "dramatiq": "2.2.1"},
        "pool": "threads",
        "capacity": 4,
        "in_flight": {"shop.charge": running},
        "reserved": reserved,
        "scheduled": 0,
        "longest_running_s": 12.0 * running,
        "telemetry": {"exported": 18_204, "dropped": {}},
        "unknown": {},
    }


if __name__ == "__main__":
    draw(PLACE)
