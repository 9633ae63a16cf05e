"""Fixtures of the tests of the commands for queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fakeredis
import pytest
from opentelemetry import trace

from otel_queue_plugins.cli.queues import access
from tests.cli.queue_commands import Command, reader_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import TracerProvider


@pytest.fixture
def redis(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Redis of the test's own, which every URL leads to."""
    server = fakeredis.FakeServer()

    def made(_url: str, framework: str, **_options: Any) -> Any:
        return reader_of(framework, fakeredis.FakeRedis(server=server))

    monkeypatch.setattr(access, "reader_of_url", made)
    client = fakeredis.FakeRedis(server=server)
    yield client
    client.close()


@pytest.fixture
def celery(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, for Celery's queues."""
    return Command(capsys, "celery")


@pytest.fixture
def dramatiq(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, for Dramatiq's queues."""
    return Command(capsys, "dramatiq")


@pytest.fixture
def recorded(tracer_provider: TracerProvider) -> TracerProvider:
    """The provider of the process, so that spans of the command are kept."""
    trace.set_tracer_provider(tracer_provider)
    return tracer_provider
