"""`otel-queue` while the broker is away, with a password, killed halfway, or with much to do."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import redis

from otel_queue_plugins.brokers.opening import reader_of_url
from tests.brokers.operators import COMMAND, START_S, Operator
from tests.brokers.queues import settle, until
from tests.brokers.test_queue_requeue_killed import DEAD, everything, fill
from tests.environment import clean_environment
from tests.services import find_binary, free_port, start_rabbitmq, start_redis

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.processes import ManagedProcess, Processes
    from tests.services import Broker

FRAMEWORKS = ["celery", "dramatiq"]
MANY = 20_000
SECRET = "s3cret"  # noqa: S105 - of a server that is started here


def operator_of(url: str, framework: str, cwd: Path, secret: str = "") -> Operator:
    """By URL; nothing of an app is imported."""
    target = ["--url", url, "--framework", framework]
    env = clean_environment(OTEL_TRACES_EXPORTER="none")
    return Operator(target=target, env=env, cwd=cwd, secret=secret or "guest:guest")


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def hanging(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ManagedProcess, str]]:
    """A broker that is stopped, and its URL."""
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "redis":
        processes, url = start_redis(find_binary("redis-server"), directory)
    else:
        processes, url = start_rabbitmq(find_binary("rabbitmq-server"), directory)
    processes.last.send_signal(signal.SIGSTOP)
    yield processes.last, url
    processes.last.send_signal(signal.SIGCONT)
    processes.close()


COMMANDS = [
    ["queues", "--queue", "q"],
    ["peek", "q", "--disturb"],
    ["show", "x", "--queue", "q", "--disturb"],
    ["requeue", "q", "--yes"],
    ["purge", "q", "--yes"],
]


UNREACHABLE, REFUSED = 3, 4


def code_of(framework: str, command: list[str]) -> int:
    """Celery keeps no dead letters of itself: that is known without asking the broker."""
    return REFUSED if framework == "celery" and command[0] == "requeue" else UNREACHABLE


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_broker_that_hangs_ends_the_command_in_time(
    hanging: tuple[ManagedProcess, str], tmp_path: Path, framework: str, command: list[str]
) -> None:
    """Exit code 3 and one line, within the time-out and what it takes to start."""
    operator = operator_of(hanging[1], framework, tmp_path)
    done = operator(*command, "--timeout", "1s")
    assert (done.code, done.out) == (code_of(framework, command), ""), done.err
    assert len(done.err.splitlines()) == 1, done.err
    assert done.took < 1 + START_S


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_broker_that_is_not_there_is_one_line(tmp_path: Path, framework: str, scheme: str) -> None:
    """Exit code 3, with the place and without the password."""
    port = free_port()
    url = f"{scheme}://user:{SECRET}@127.0.0.1:{port}/0"
    operator = operator_of(url, framework, tmp_path, SECRET)
    for command in COMMANDS:
        done = operator(*command)
        code = code_of(framework, command)
        assert (done.code, done.out) == (code, ""), done.err
        assert len(done.err.splitlines()) == 1, done.err
        assert str(port) in done.err or code == REFUSED
        assert done.took < 5 + START_S


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_no_output_has_the_password(tmp_path: Path, framework: str) -> None:
    """With the right one and with a wrong one, in text and in JSON."""
    processes, url = start_redis(find_binary("redis-server"), tmp_path)
    client = redis.Redis.from_url(url)
    client.config_set("requirepass", SECRET)
    place = urlsplit(url).netloc
    right = operator_of(f"redis://:{SECRET}@{place}/0", framework, tmp_path, SECRET)
    wrong = operator_of(f"redis://:{SECRET}-not@{place}/0", framework, tmp_path, SECRET)
    looks = [[*each, *form] for each in COMMANDS for form in ([], ["--json"])]
    for command in looks:
        assert right(*command).code in {0, 1, 4}
        done = wrong(*command)
        assert done.code == code_of(framework, command), (command, done.err)
    client.close()
    processes.close()


@pytest.mark.parametrize("after", [1, 50])
def test_requeue_that_is_killed_loses_nothing(
    own_broker: Broker, processes: Processes, after: int
) -> None:
    """On Redis each message is in one place; on RabbitMQ one at most is in two."""
    queue = f"{own_broker.queue}-{after}"
    fill(own_broker, queue)
    reader = reader_of_url(own_broker.url, "dramatiq")
    arguments = ["requeue", queue, "--yes", "--rate", "100/s"]
    arguments += ["--url", own_broker.url, "--framework", "dramatiq"]
    env = clean_environment(OTEL_TRACES_EXPORTER="none")
    program = processes.start("otel-queue", [*COMMAND, *arguments], env=env)

    def ready() -> int:
        return reader.states([queue])[0].ready or 0

    until(lambda: ready() >= after, lambda: f"{after} messages of {queue}: {program.log}")
    program.kill()
    program.wait()
    settle(reader, queue)
    assert ready() < DEAD
    reader.close()
    found = everything(own_broker, queue)
    assert set(found) == {f"m{number}" for number in range(DEAD)}
    assert len(found) - DEAD in ({0} if own_broker.system == "redis" else {0, 1})


def test_twenty_thousand_dead_letters_are_moved_and_purged(
    own_broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the time-out that commands have by default: it is for a silent broker."""
    monkeypatch.setattr(sys.modules[fill.__module__], "DEAD", MANY)
    fill(own_broker, own_broker.queue)
    operator = operator_of(own_broker.url, "dramatiq", tmp_path)
    done = operator.json("requeue", own_broker.queue, "--yes")
    assert (done["matched"], done["done"]) == (MANY, MANY)
    if own_broker.system == "redis":
        chosen = operator.json("purge", own_broker.queue, "--yes", "--task", "act")
    else:
        chosen = operator.json("purge", own_broker.queue, "--yes")
    assert chosen["done"] == MANY


def test_requeue_that_is_interrupted_loses_nothing(
    own_broker: Broker, processes: Processes
) -> None:
    """Each message is in one place, and the last line says how many were moved."""
    fill(own_broker, own_broker.queue)
    arguments = ["requeue", own_broker.queue, "--yes", "--rate", "100/s"]
    arguments += ["--url", own_broker.url, "--framework", "dramatiq"]
    env = clean_environment(OTEL_TRACES_EXPORTER="none")
    program = processes.start("otel-queue", [*COMMAND, *arguments], env=env)
    reader = reader_of_url(own_broker.url, "dramatiq")

    def ready() -> int:
        return reader.states([own_broker.queue])[0].ready or 0

    until(lambda: ready() >= 10, lambda: program.log)
    assert program.stop(signal.SIGINT) == 130
    settle(reader, own_broker.queue)
    moved = ready()
    reader.close()
    assert program.log.splitlines()[-1] == (
        f"otel-queue: interrupted: {moved} of {DEAD} messages were done"
    )
    found = everything(own_broker, own_broker.queue)
    assert sorted(found) == sorted(f"m{number}" for number in range(DEAD))
