"""Servers for tests: found on the path, isolated, and never missing silently in CI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import services

if TYPE_CHECKING:
    from pathlib import Path


def test_missing_server_skips_locally_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """A green CI run has used the real brokers."""
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-server is not installed"):
        services.find_binary("no-such-server")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-server is not installed"):
        services.find_binary("no-such-server")


def test_server_is_found_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Executable files only."""
    server = tmp_path / "some-server"
    server.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert services.find_binary("some-server") == str(server)


def test_two_scopes_use_different_redis_databases(redis_url: str) -> None:
    """Each gets an empty one, and leaves it empty."""
    redis = pytest.importorskip("redis")
    with services.redis_database(redis_url) as one, services.redis_database(redis_url) as two:
        assert one != two
        redis.Redis.from_url(one).set("left", "over")
    with services.redis_database(redis_url) as again:
        assert again == one
        assert not redis.Redis.from_url(again).exists("left")
