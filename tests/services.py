"""Redis and RabbitMQ for tests: those named in the environment, else private ones that are started.

`REDIS_URL` and `AMQP_URL` name running servers. Without them the installed `redis-server` and
`rabbitmq-server` are started on free ports, in a temporary directory, for the session. Without a
binary the tests are skipped; where `CI` is set they fail instead.
"""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.environment import clean_environment
from tests.processes import ProcessError, Processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SERVER_DIRECTORIES = (
    "/usr/lib/rabbitmq/bin",
    "/usr/sbin",
    "/usr/local/sbin",
    "/opt/homebrew/sbin",
)
_START_ATTEMPTS = 3
_REDIS_DATABASES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A place for the messages of one module or test that no other test reads or writes.

    `system` is `redis` or `rabbitmq`. On Redis `url` names an empty database; on RabbitMQ the
    names that start with `queue` are yours. `results_url` is an empty Redis database in both.
    """

    system: str
    url: str
    results_url: str
    queue: str


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running Redis, without a database number."""
    if url := os.environ.get("REDIS_URL"):
        yield url
        return
    binary = find_binary("redis-server")
    with _started(lambda: start_redis(binary, tmp_path_factory.mktemp("redis"))) as url:
        yield url


@pytest.fixture(scope="session")
def amqp_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running RabbitMQ, default vhost."""
    if url := os.environ.get("AMQP_URL"):
        yield url
        return
    binary = find_binary("rabbitmq-server")
    with _started(lambda: start_rabbitmq(binary, tmp_path_factory.mktemp("rabbitmq"))) as url:
        yield url


@dataclass(frozen=True, slots=True, kw_only=True)
class Managed:
    """A RabbitMQ whose management API answers, as `guest` both."""

    url: str
    management_url: str


@pytest.fixture(scope="session")
def managed_rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    """A running RabbitMQ with its management API; `MANAGEMENT_URL` names that of `AMQP_URL`."""
    if (url := os.environ.get("AMQP_URL")) and (api := os.environ.get("MANAGEMENT_URL")):
        yield Managed(url=url, management_url=api)
        return
    binary, port = find_binary("rabbitmq-server"), free_port()
    directory = tmp_path_factory.mktemp("managed-rabbitmq")
    with _started(lambda: start_rabbitmq(binary, directory, management_port=port)) as url:
        yield Managed(url=url, management_url=f"http://127.0.0.1:{port}")


@contextmanager
def prometheus_server(directory: Path, *target_ports: int) -> Iterator[str]:
    """The URL of a Prometheus that scrapes ports of loopback each second, with exemplars."""
    configuration = directory / "prometheus.yml"
    targets = [f"127.0.0.1:{port}" for port in target_ports]
    configuration.write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        "- job_name: worker\n"
        f"  static_configs: [{{targets: {targets}}}]\n"
    )
    with configured_prometheus(configuration) as url:
        yield url


@contextmanager
def configured_prometheus(configuration: Path) -> Iterator[str]:
    """The URL of a Prometheus with this file of configuration, which keeps its data beside it."""
    binary, data = find_binary("prometheus"), configuration.parent / "data"

    def start() -> tuple[Processes, str]:
        processes, port = Processes(), free_port()
        command = [binary, f"--config.file={configuration}"]
        command += [f"--web.listen-address=127.0.0.1:{port}"]
        command += [f"--storage.tsdb.path={data}"]
        server = processes.start("prometheus", [*command, "--enable-feature=exemplar-storage"])
        with _closed_on_error(processes):
            server.wait_for_log("Server is ready to receive web requests", timeout=60)
        return processes, f"http://127.0.0.1:{port}"

    with _started(start) as url:
        yield url


@contextmanager
def redis_database(server_url: str) -> Iterator[str]:
    """The URL of a Redis database that was empty, and is emptied again afterwards.

    A marker key claims it, so that two sessions on one server do not meet.
    """
    import redis  # the core's tests run without any broker client

    mine = f"otel-queue-tests-{uuid.uuid4().hex}"
    for number in range(1, _REDIS_DATABASES):
        client = redis.Redis.from_url(_database_url(server_url, number))
        if client.dbsize() == 0 and client.set("otel-queue-tests", mine, nx=True):
            break
        client.close()
    else:
        pytest.fail("no empty Redis database")
    try:
        yield _database_url(server_url, number)
    finally:
        client.flushdb()
        client.close()


def queue_name() -> str:
    """A queue name that no other test has. RabbitMQ keeps its queues: the server is for tests."""
    return f"shop-{uuid.uuid4().hex[:8]}"


def free_port() -> int:
    """A port on loopback that no process listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _database_url(server_url: str, number: int) -> str:
    scheme, rest = server_url.split("://", 1)
    return f"{scheme}://{rest.split('/', 1)[0]}/{number}"


def find_binary(name: str) -> str:
    """The path of a server. Without one the test is skipped, or fails where `CI` is set."""
    for directory in (*_SERVER_DIRECTORIES, *os.environ.get("PATH", "").split(os.pathsep)):
        candidate = Path(directory) / name
        if os.access(candidate, os.X_OK):
            return str(candidate)
    return _unavailable(f"{name} is not installed and its URL is not in the environment")


def _unavailable(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def _started(start: Callable[[], tuple[Processes, str]]) -> Iterator[str]:
    """The URL of a server; another port is tried if another process has taken the first one."""
    for attempt in range(_START_ATTEMPTS):
        try:
            processes, url = start()
            break
        except ProcessError:
            if attempt == _START_ATTEMPTS - 1:
                raise
    try:
        yield url
    finally:
        processes.close()


def start_redis(binary: str, directory: Path, *, port: int | None = None) -> tuple[Processes, str]:
    """A server that keeps nothing on disk."""
    port = port or free_port()
    processes = Processes()
    options = {"port": port, "bind": "127.0.0.1", "dir": directory, "databases": _REDIS_DATABASES}
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    server = processes.start(
        "redis-server", [binary, *arguments, "--save", "", "--appendonly", "no"]
    )
    with _closed_on_error(processes):
        server.wait_for_log("Ready to accept connections", timeout=60)
    return processes, f"redis://127.0.0.1:{port}"


def start_rabbitmq(
    binary: str,
    directory: Path,
    *,
    port: int | None = None,
    management_port: int | None = None,
    more: str = "",
) -> tuple[Processes, str]:
    """A node that shares nothing with one the system may run; the server is the last process.

    epmd is started here, in the foreground: RabbitMQ would leave a daemon behind, and spends two
    seconds more on it. RUNNING_UNDER_SYSTEMD makes the script exec the VM instead of wrapping it.
    """
    distribution_port, epmd_port = free_port(), free_port()
    port = port or free_port()
    processes = Processes()
    plugins, configuration = directory / "enabled_plugins", directory / "rabbitmq.conf"
    plugins.write_text("[rabbitmq_management].\n" if management_port else "[].\n")
    settings = f"listeners.tcp.1 = 127.0.0.1:{port}\ndisk_free_limit.absolute = 1MB\n"
    if management_port:
        settings += f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {management_port}\n"
    configuration.write_text(settings + more)
    environment = clean_environment(
        HOME=str(directory),
        RUNNING_UNDER_SYSTEMD="true",
        ERL_EPMD_PORT=str(epmd_port),
        RABBITMQ_NODENAME=f"tests{port}@localhost",
        RABBITMQ_NODE_PORT=str(port),
        RABBITMQ_DIST_PORT=str(distribution_port),
        RABBITMQ_MNESIA_BASE=str(directory / "mnesia"),
        RABBITMQ_LOG_BASE=str(directory / "log"),
        RABBITMQ_LOGS="-",
        RABBITMQ_PID_FILE=str(directory / "pid"),
        RABBITMQ_CONFIG_FILE=str(configuration),
        RABBITMQ_ENABLED_PLUGINS_FILE=str(plugins),
    )
    if epmd := _epmd():
        command = [epmd, "-port", str(epmd_port), "-address", "127.0.0.1", "-debug"]
        with _closed_on_error(processes):
            processes.start("epmd", command).wait_for_log("running", timeout=60)
    server = processes.start("rabbitmq-server", [binary], env=environment, cwd=directory)
    with _closed_on_error(processes):
        server.wait_for_log("Server startup complete", timeout=180)
    return processes, f"amqp://guest:guest@127.0.0.1:{port}/"


def _epmd() -> str | None:
    if found := shutil.which("epmd"):
        return found
    return next((str(path) for path in Path("/usr/lib/erlang").glob("erts-*/bin/epmd")), None)


@contextmanager
def _closed_on_error(processes: Processes) -> Iterator[None]:
    try:
        yield
    except BaseException:
        processes.close()
        raise
