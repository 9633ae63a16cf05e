"""Brokers for the demo that need no server: files for Celery, a fake Redis for Dramatiq."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoBroker:
    """A broker that is ready. `label` is for people, `environment` for the processes."""

    url: str
    label: str
    environment: Mapping[str, str] = field(default_factory=dict)


def embedded(framework: str, folder: Path) -> AbstractContextManager[DemoBroker]:
    """The broker that the demo of `framework` brings along."""
    return filesystem(folder) if framework == "celery" else fake_redis()


def given(url: str) -> DemoBroker:
    """A broker that runs already. Its password is not shown."""
    parts = urlsplit(url)
    host = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
    return DemoBroker(url=url, label=f"{parts.scheme}://{host}{parts.path}")


@contextmanager
def filesystem(folder: Path) -> Iterator[DemoBroker]:
    """A folder for kombu's transport over files, which wants its folders to exist."""
    for name in ("queue", "control"):
        (folder / name).mkdir()
    yield DemoBroker(
        url="filesystem://",
        label="embedded, files in a temporary folder",
        environment={"DEMO_FOLDER": str(folder)},
    )


@contextmanager
def fake_redis() -> Iterator[DemoBroker]:
    """A Redis in a thread of this process.

    It closes the connection after every error, also after the NOSCRIPT that makes a client load
    its script. So Dramatiq's scripts are loaded before anybody asks for them.
    """
    import redis
    from dramatiq.brokers import redis as dramatiq_redis
    from fakeredis import TcpFakeServer

    server = TcpFakeServer(("127.0.0.1", 0), server_type="redis")
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="fake-redis", daemon=True)
    thread.start()
    try:
        port = server.server_address[1]
        url = f"redis://127.0.0.1:{port}/0"
        redis_broker: Any = dramatiq_redis.RedisBroker
        client = redis.Redis.from_url(url)
        for script in redis_broker(url=url).scripts.values():
            client.script_load(script.script)
        client.close()
        yield DemoBroker(url=url, label=f"embedded, a fake Redis on port {port}")
    finally:
        server.shutdown()
        server.server_close()
