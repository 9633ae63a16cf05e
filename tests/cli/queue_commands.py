"""Commands for queues, run in this process against a Redis that is none."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otel_queue_plugins.brokers.facts import Source
from otel_queue_plugins.brokers.on_redis import celery_keys, dramatiq_keys
from otel_queue_plugins.brokers.on_redis.celery import CeleryOnRedis
from otel_queue_plugins.brokers.on_redis.dramatiq import DramatiqOnRedis
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.cli import main
from otel_queue_plugins.cli.queues.run import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

TRACE_ID, SPAN_ID = 0xABC, 0xDEF
TRACEPARENT = f"00-{TRACE_ID:032x}-{SPAN_ID:016x}-01"
URL = "redis://:s3cret@localhost/0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


class Command:
    """Runs `otel-queue` with the queues of one framework in `redis`."""

    def __init__(self, capsys: pytest.CaptureFixture[str], framework: str) -> None:
        self._capsys = capsys
        self._target = ["--url", URL, "--framework", framework]

    def __call__(self, *arguments: str) -> Result:
        return self.bare(*arguments, *self._target)

    def bare(self, *arguments: str) -> Result:
        """Without the target."""
        self._capsys.readouterr()
        try:
            code = run(main.make_parser().parse_args(arguments))
        except SystemExit as error:
            code = int(str(error.code))
        out, err = self._capsys.readouterr()
        assert "s3cret" not in out + err
        return Result(code=code, out=out, err=err)


def reader_of(framework: str, redis: Any, queues: Sequence[str] = ("orders",)) -> QueueReader:
    """A reader of the queues in `redis`."""
    source = Source(framework=framework, system="redis", url="redis://localhost/0")
    names = dict.fromkeys(queues, "named")
    storage: Any
    if framework == "celery":
        keys = celery_keys.Keys()
        storage = CeleryOnRedis(
            source, lambda: redis, keys, configured=lambda: names, attempts=lambda _: 4, clock=_now
        )
    else:
        storage = DramatiqOnRedis(
            source,
            lambda: redis,
            dramatiq_keys.Keys(),
            declared=lambda: names,
            attempts=lambda _: 4,
            clock=_now,
        )
    return QueueReader(storage, _now)


def _now() -> float:
    import time

    return time.time()


def fill_celery(redis: Any, *ids: str, queue: str = "orders", task: str = "charge") -> None:
    """Ready messages of Celery; the first one is the oldest."""
    for identity in ids:
        headers = {"task": task, "id": identity, "argsrepr": "('card 4711',)"}
        redis.lpush(queue, json.dumps({"headers": {**headers, "traceparent": TRACEPARENT}}))


def body(identity: str, *, task: str = "charge", **options: Any) -> str:
    """A message of Dramatiq, with arguments that nobody may see."""
    carrier = {"otel": {"traceparent": TRACEPARENT}}
    facts = {"message_id": identity, "actor_name": task, "args": ["card 4711"], "kwargs": {}}
    return json.dumps({**facts, "message_timestamp": 1000, "options": {**carrier, **options}})


def fill_dramatiq(redis: Any, *ids: str, queue: str = "orders", **options: Any) -> None:
    """Ready messages of Dramatiq; the first one is the oldest."""
    for identity in ids:
        redis.rpush(f"dramatiq:{queue}", f"key-{identity}")
        redis.hset(f"dramatiq:{queue}.msgs", f"key-{identity}", body(identity, **options))


def kill(redis: Any, *ids: str, queue: str = "orders", **options: Any) -> None:
    """Dead letters of Dramatiq; the first one is the oldest."""
    for number, identity in enumerate(ids):
        redis.zadd(f"dramatiq:{queue}.XQ", {f"key-{identity}": 1000.0 + number})
        redis.hset(f"dramatiq:{queue}.XQ.msgs", f"key-{identity}", body(identity, **options))
