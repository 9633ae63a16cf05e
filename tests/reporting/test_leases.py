"""Leases on Redis: one holder, renewed in one round trip, given back, taken when they end."""

from __future__ import annotations

from typing import Any

import fakeredis
import pytest
from redis import exceptions

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.on_redis.leases import RedisLeases
from tests.reporting.conftest import Clock

PREFIX = "shop:otq:reporter:"
LIFETIME = 15.0


@pytest.fixture
def redis() -> Any:
    """A Redis of the test's own."""
    client = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    yield client
    client.close()


def leases(redis: Any, owner: str, clock: Clock | None = None) -> RedisLeases:
    """Those of one reporter."""
    return RedisLeases(lambda: redis, PREFIX, owner, LIFETIME, clock or Clock())


def test_one_of_two_reporters_holds_a_queue_and_the_other_what_is_left(redis: Any) -> None:
    """The second one knows when the first lease would end."""
    clock = Clock()
    first, second = leases(redis, "one", clock), leases(redis, "two", clock)
    held = first.hold(["a", "b"])
    assert held.until.keys() == {"a", "b"}
    assert held.next_end is None
    assert clock.now + LIFETIME - 1 < held.until["a"] < clock.now + LIFETIME
    other = second.hold(["b", "c"])
    assert other.until.keys() == {"c"}
    assert other.next_end == pytest.approx(LIFETIME, abs=0.1)
    assert sorted(redis.keys()) == [f"{PREFIX}{name}".encode() for name in "abc"]


def test_renewal_keeps_a_lease_and_an_ended_one_is_taken(redis: Any) -> None:
    """A reporter that wakes up after its lease was taken does not get it back."""
    first, second = leases(redis, "one"), leases(redis, "two")
    first.hold(["a"])
    redis.pexpire(f"{PREFIX}a", 1000)
    assert first.hold(["a"]).until.keys() == {"a"}
    assert redis.pttl(f"{PREFIX}a") > 1000
    redis.delete(f"{PREFIX}a")
    assert second.hold(["a"]).until.keys() == {"a"}
    assert first.hold(["a"]).until == {}


def test_queue_that_is_not_wanted_any_more_is_given_back(redis: Any) -> None:
    """After cancel_consumer another worker reports it; nothing of others is touched."""
    first, second = leases(redis, "one"), leases(redis, "two")
    first.hold(["a", "b"])
    first.hold(["a"])
    assert second.hold(["a", "b"]).until.keys() == {"b"}
    first.close()
    assert second.hold(["a", "b"]).until.keys() == {"a", "b"}
    first.close()
    assert len(redis.keys()) == 2


def test_user_without_permission_is_told_what_to_do() -> None:
    """The setting, and the keys."""

    class Forbidden:
        def register_script(self, _script: str) -> Any:
            def run(*_: Any) -> None:
                raise exceptions.NoPermissionError("NOPERM this user has no permissions")

            return run

    with pytest.raises(RefusedError, match="OTEL_QUEUE_STATE_LEASE=off") as raised:
        leases(Forbidden(), "one").hold(["a"])
    assert PREFIX in str(raised.value)
