"""What is asserted of queues: numbers that settle, and that looking changed nothing."""

from __future__ import annotations

import json
import time
import urllib.request
from base64 import b64encode
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import redis

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.facts import STATES, QueueState
from otel_queue_plugins.brokers.rows import queue_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_queue_plugins.brokers.reader import QueueReader

Numbers = dict[str, Any]


def numbers(reader: QueueReader, queue: str) -> Numbers:
    """The row of one queue, as `otel-queue queues --json` has it."""
    (state,) = reader.states([queue])
    check(state)
    return queue_row(state)


def check(state: QueueState) -> None:
    """A number is null if and only if it has its reason."""
    fields = {name for name in QueueState.__slots__ if name not in {"name", "system", "unknown"}}
    assert {name for name in fields if getattr(state, name) is None} == set(state.unknown)
    assert all(state.unknown.values())


def settle(reader: QueueReader, queue: str, timeout: float = 60, **expected: Any) -> Numbers:
    """Wait until the numbers are as expected; the whole row then."""

    def is_settled() -> Numbers | None:
        found = numbers(reader, queue)
        return found if expected.items() <= found.items() else None

    return until(is_settled, lambda: f"{expected} of {numbers(reader, queue)}", timeout)


def until(look: Callable[[], Any], what: Callable[[], str], timeout: float = 60) -> Any:
    """The first true value of `look()`."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"did not come: {what()}")


def look_everywhere(reader: QueueReader, queue: str) -> None:
    """All that shows a queue and is not refused."""
    reader.names(search=True)
    for _ in range(3):
        reader.states([queue, f"{queue}-missing"])
    for state in STATES:
        with suppress(RefusedError):
            reader.peek(queue, state)
        for plan in (reader.plan_purge, lambda queue, _state: reader.plan_requeue(queue)):
            with suppress(RefusedError):
                plan(queue, state)
    reader.find("no such id", queues=[queue])


def redis_dump(url: str, *, without: str = "") -> dict[bytes, Any]:
    """Every key with its value and whether it expires; of sorted sets with `without` the members.

    Heartbeats of running workers go on while one looks.
    """
    client = redis.Redis.from_url(url)
    dump: dict[bytes, Any] = {}
    for key in sorted(client.scan_iter(count=1000)):
        if without and without.encode() in key:
            dump[key] = client.zrange(key, 0, -1)
        else:
            dump[key] = _value(client, key), client.ttl(key) >= 0
    client.close()
    return dump


def _value(client: Any, key: bytes) -> Any:
    """What a key of any type holds; a difference in it can be read, one of `DUMP` cannot."""
    reads = {
        b"string": client.get,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"hash": client.hgetall,
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    return reads[client.type(key)](key)


def rabbitmq_dump(management_url: str) -> dict[str, Any]:
    """All that is declared, and how many messages each queue has, waiting and held."""
    definitions = management(management_url, "definitions")
    totals = management(management_url, "queues?disable_stats=true&enable_queue_totals=true")
    fields = ("name", "messages_ready", "messages_unacknowledged")
    return {
        "queues": sorted(str([row[name] for name in fields]) for row in totals),
        **{key: sorted(map(str, definitions[key])) for key in ("exchanges", "bindings", "queues")},
        "totals": sorted(str([row[name] for name in fields]) for row in totals),
    }


def management(url: str, path: str, body: Any = None) -> Any:
    """Ask the management API as `guest`; with a body, PUT it."""
    request = urllib.request.Request(
        f"{url}/api/{path}",
        data=None if body is None else json.dumps(body).encode(),
        method="GET" if body is None else "PUT",
        headers={
            "Authorization": f"Basic {b64encode(b'guest:guest').decode()}",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text else None
