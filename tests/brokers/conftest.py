"""Fixtures for tests on real brokers; see `tests.brokers.harness` for how to write one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.brokers.harness import Lab
from tests.receiver import FaultyReceiver
from tests.services import Broker, queue_name, redis_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.processes import Processes


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A namespace of its own on each real broker, for one module."""
    with _broker(request) as place:
        yield place


@pytest.fixture(params=["redis", "rabbitmq"])
def own_broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A namespace of its own on each real broker, for one test."""
    with _broker(request) as place:
        yield place


@pytest.fixture(scope="module")
def lab(
    broker: Broker, module_processes: Processes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """A lab for one module and broker."""
    with FaultyReceiver() as receiver:
        lab = Lab(
            broker=broker,
            receiver=receiver,
            processes=module_processes,
            directory=tmp_path_factory.mktemp("lab"),
        )
        yield lab
        lab.close()


@pytest.fixture
def own_lab(own_broker: Broker, processes: Processes, tmp_path: Path) -> Iterator[Lab]:
    """A lab for one test and broker."""
    with FaultyReceiver() as receiver:
        lab = Lab(broker=own_broker, receiver=receiver, processes=processes, directory=tmp_path)
        yield lab
        lab.close()


@contextmanager
def _broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    amqp_url = request.getfixturevalue("amqp_url") if request.param == "rabbitmq" else None
    with redis_database(request.getfixturevalue("redis_url")) as url:
        yield Broker(system=request.param, url=amqp_url or url, results_url=url, queue=queue_name())
