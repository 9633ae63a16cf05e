"""An app whose actors end with each outcome that a delivery can have."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import dramatiq
from dramatiq import Message, group, pipeline
from dramatiq.errors import RateLimitExceeded, Retry
from dramatiq.middleware import (
    AsyncIO,
    CurrentMessage,
    GroupCallbacks,
    Middleware,
    Retries,
    SkipMessage,
    TimeLimit,
)
from dramatiq.rate_limits.backends import RedisBackend
from opentelemetry import baggage, context, propagate, trace

from otel_queue_plugins.dramatiq import OpenTelemetryMiddleware, instrument
from tests.brokers.apps.settings import BROKER_URL, QUEUE, RESULTS_URL, dramatiq_broker

__all__ = ["Message", "context", "group", "pipeline", "propagate", "trace"]


class Moody(Middleware):
    """Skips messages that have an option for it, and lets the enqueue of a retry fail for one."""

    def before_process_message(self, _broker: Any, message: Any) -> None:
        """Skip."""
        if message.options.get("mood") == "bad":
            raise SkipMessage(f"not {message.message_id}")

    def before_enqueue(self, _broker: Any, message: Any, _delay: Any) -> None:
        """Fail."""
        if message.options.get("mood") == "unplugged" and message.options.get("retries"):
            message.options["unencodable"] = object()


class Mourning(Middleware):
    """Sends another message after the nack of a message with an option for it."""

    def after_nack(self, _broker: Any, message: Any) -> None:
        """Send."""
        if message.options.get("mood") == "mourned":
            ok.send("mourning")


HEARTBEAT = os.environ.get("HEARTBEAT") if BROKER_URL.startswith("redis") else None
QUICK: dict[str, Any] = (
    {"heartbeat_timeout": int(HEARTBEAT), "maintenance_chance": 1_000_000} if HEARTBEAT else {}
)

broker = dramatiq_broker(**QUICK)
broker.middleware = [each for each in broker.middleware if not isinstance(each, TimeLimit)]
broker.add_middleware(TimeLimit(interval=50), before=Retries)
broker.add_middleware(GroupCallbacks(RedisBackend(url=RESULTS_URL)))
broker.add_middleware(AsyncIO())
broker.add_middleware(CurrentMessage())
broker.add_middleware(Moody())
broker.add_middleware(Mourning())
if os.environ.get("POSITION") == "last":
    broker.add_middleware(OpenTelemetryMiddleware())
else:
    instrument(broker)


def actor(name: str, **options: Any) -> Any:
    """Declare an actor on the queue of this app, with short backoffs."""
    return dramatiq.actor(
        actor_name=name, queue_name=QUEUE, **{"min_backoff": 50, "max_backoff": 100, **options}
    )


@actor("ok")
def ok(*_: Any) -> None:
    """Return."""


@actor("add")
def add(*values: int) -> int:
    """Return something."""
    return sum(values)


@actor("fail", max_retries=0)
def fail(*_: Any) -> None:
    """Raise, without a retry."""
    raise ValueError("broken")


@actor("expected", throws=KeyError)
def expected() -> None:
    """Raise an error that `throws` declares."""
    raise KeyError("as declared")


@actor("again", max_retries=2)
def again(times: int, delay: int | None = None) -> None:
    """Raise that many times, and then return."""
    retries = CurrentMessage.get_current_message().options.get("retries", 0)
    if retries < times:
        if delay is not None:
            raise Retry("asked for", delay=delay)
        raise ValueError(f"attempt {retries}")


@actor("poll", max_retries=0)
def poll(fails: bool) -> None:
    """Send the same message again, and raise if asked to."""
    message = CurrentMessage.get_current_message()
    if not message.options.get("turn"):
        broker.enqueue(message.copy(options={"turn": 1}), delay=100)
        if fails:
            raise ValueError("for good")


@actor("limited", max_retries=1)
def limited() -> None:
    """Exceed the rate limit once."""
    if not CurrentMessage.get_current_message().options.get("retries"):
        raise RateLimitExceeded("too fast")


@actor("picky", retry_when=lambda _retries, error: "temporary" in str(error))
def picky() -> None:
    """Raise an error that `retry_when` declines."""
    raise ValueError("permanent")


ALARM = {"on_retry_exhausted": "ok"} if "on_retry_exhausted" in Retries().actor_options else {}


@actor("alarming", max_retries=0, **ALARM)
def alarming() -> None:
    """Raise without a retry, with `on_retry_exhausted`."""
    raise ValueError("broken")


@actor("slow", max_retries=0, time_limit=100)
def slow() -> None:
    """Exceed the time limit."""
    _hold(5)


@actor("slow_async", max_retries=0, time_limit=100)
async def slow_async() -> None:
    """Exceed the time limit in a coroutine."""
    await asyncio.sleep(5)


@actor("notified", notify_shutdown=True, min_backoff=6000, max_backoff=8000)
def notified() -> None:
    """Run until the worker stops; retried with `notify_shutdown`."""
    _say("notified runs")
    _hold(20)


@actor("hold")
def hold(seconds: float) -> None:
    """Run for that long."""
    _say("hold runs")
    _hold(seconds)


@actor("die")
def die() -> None:
    """Kill the worker process, the first time."""
    died = Path(os.environ["DIED"])
    if not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)


@actor("where")
async def where() -> None:
    """Raise unless the current span and the baggage are correct everywhere."""
    here = _span_id()
    await asyncio.sleep(0.01)
    inside = await asyncio.create_task(_span_id_later())
    outside = await asyncio.to_thread(_span_id)
    await asyncio.to_thread(ok.send, "from where")
    if {here, inside, outside, _span_id()} != {here} or baggage.get_baggage("user") != "7":
        raise ValueError((here, inside, outside, baggage.get_all()))


async def _span_id_later() -> int:
    return _span_id()


def _span_id() -> int:
    return trace.get_current_span().get_span_context().span_id


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _hold(seconds: float) -> None:
    """Sleep in steps, since an interrupt waits for the end of a system call."""
    ended = time.monotonic() + seconds
    while time.monotonic() < ended:
        threading.Event().wait(0.01)


def enqueue(name: str, **options: Any) -> Any:
    """Enqueue a message made by hand, for an actor that may not exist."""
    return broker.enqueue(
        Message(queue_name=QUEUE, actor_name=name, args=(), kwargs={}, options=options)
    )


def dead_letters() -> int:
    """Return how many messages are in the dead-letter queue."""
    if hasattr(broker, "client"):
        return int(broker.client.zcard(f"dramatiq:{QUEUE}.XQ"))
    return int(broker.get_queue_message_counts(QUEUE)[2])
