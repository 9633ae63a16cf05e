"""The HTTP of real workers: one port for all processes, and numbers that add up to what ran."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.http_client import Client
from tests.services import find_binary, free_port, start_rabbitmq, start_redis

if TYPE_CHECKING:
    from tests.brokers.harness import Lab

CELERY = "tests.brokers.apps.http_celery"
DRAMATIQ = "tests.brokers.apps.http_dramatiq"
GREEN = {"gevent", "eventlet"}  # one task that does not yield is all that runs there

on_redis = pytest.mark.parametrize("own_broker", ["redis"], indirect=True)


def served(port: int, **more: str) -> dict[str, str]:
    """The environment of a worker that serves at `port`."""
    return {"OTEL_QUEUE_HTTP": str(port), **more}


@on_redis
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent", "eventlet"])
def test_stats_of_celery_add_up_to_what_ran(own_lab: Lab, pool: str) -> None:
    """Also of pool processes that were replaced after each task."""
    port = free_port()
    app = own_lab.module(CELERY)
    producer = own_lab.producer(app)
    one_each = ["--max-tasks-per-child=1"] if pool == "prefork" else []
    own_lab.celery(app, pool=pool, env=served(port), arguments=one_each)
    producer.run("for n in range(12): ok.delay(n)")
    producer.run("fail.delay(); again.delay()")
    client = Client(port)
    found = client.stats_until(
        lambda stats: stats["processed"] == {"failure": 1, "retry": 2, "success": 13}
    )
    assert found["retries"] == 2
    assert found["in_flight"] == {}
    assert found["capacity"] == (1 if pool == "solo" else 2)
    assert found["pool"] == pool
    assert found["framework"] == "celery"
    found = client.stats_until(lambda stats: stats["telemetry"]["exported"] >= 16)
    assert found["telemetry"]["endpoint"] == own_lab.receiver.endpoint
    assert found["telemetry"]["dropped"] == {}
    assert found["telemetry"]["last_export_ok_at"].endswith("Z")
    assert found["unknown"] == {}
    assert found["scheduled"] == 0
    producer.run("ok.apply_async((1,), countdown=3600)")
    assert client.stats_until(lambda stats: stats["scheduled"] == 1)["reserved"] == 0


@on_redis
@pytest.mark.parametrize("number", [1, 3])
def test_stats_of_dramatiq_add_up_to_what_ran(own_lab: Lab, number: int) -> None:
    """In all processes of the worker."""
    port = free_port()
    app = own_lab.module(DRAMATIQ)
    producer = own_lab.producer(app)
    own_lab.dramatiq(app, processes=number, threads=2, env=served(port))
    producer.run("for n in range(20): ok.send(n)")
    producer.run("fail.send(); again.send()")
    client = Client(port)
    found = client.stats_until(
        lambda stats: stats["processed"] == {"dead_letter": 2, "retry": 2, "success": 20}
    )
    assert found["retries"] == 2
    assert found["dead_letters"] == 2
    assert found["capacity"] == 2 * number
    assert found["framework"] == "dramatiq"
    assert found["scheduled"] == 0
    producer.run("ok.send_with_options(args=(1,), delay=3600_000)")
    assert client.stats_until(lambda stats: stats["scheduled"] == 1)["reserved"] == 0


@on_redis
def test_death_of_a_pool_process_is_in_the_stats(own_lab: Lab) -> None:
    """The main process records what the dead one could not."""
    port = free_port()
    app = own_lab.module(CELERY)
    producer = own_lab.producer(app)
    own_lab.celery(app, env=served(port))
    producer.run("die.delay(); ok.delay()")
    found = Client(port).stats_until(lambda stats: sum((stats["processed"] or {}).values()) == 2)
    assert found["processed"] == {"lost": 1, "success": 1}


@pytest.mark.timing
@pytest.mark.parametrize("framework", ["celery", "dramatiq"])
def test_busy_worker_is_live_ready_and_shows_what_it_runs(own_lab: Lab, framework: str) -> None:
    """Busy is not hanging: all slots are taken for longer than the time that a loop may hang."""
    port = free_port()
    client, env = Client(port), served(port, OTEL_QUEUE_LIVE_TIMEOUT="1.5")
    if framework == "celery":
        app = own_lab.module(CELERY)
        own_lab.celery(app, env=env)
        own_lab.producer(app).run("for n in range(3): nap.delay(4)")
    else:
        app = own_lab.module(DRAMATIQ)
        own_lab.dramatiq(app, processes=2, threads=1, env=env)
        own_lab.producer(app).run("for n in range(3): nap.send(4)")
    client.until("/readyz", 200)
    found = client.stats_until(lambda stats: stats["longest_running_s"] > 2.5)
    assert found["in_flight"] == {"nap": 2}
    assert client.get("/livez").status == 200
    assert client.get("/readyz").status == 200


@pytest.mark.timing
@on_redis
@pytest.mark.parametrize("pool", ["solo", "threads", "prefork"])
def test_worker_that_burns_processor_time_is_live(own_lab: Lab, pool: str) -> None:
    """The task of a solo pool keeps the loop from turning, and that is no hang either."""
    port = free_port()
    app = own_lab.module(CELERY)
    producer = own_lab.producer(app)
    own_lab.celery(app, pool=pool, env=served(port, OTEL_QUEUE_LIVE_TIMEOUT="1"))
    producer.run("burn.delay(3)")
    client = Client(port)
    client.stats_until(lambda stats: (stats["longest_running_s"] or 0) > 2)
    reply = client.get("/livez")
    assert reply.status == 200, reply.body


@on_redis
@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent", "eventlet"])
def test_blocked_loop_of_celery_is_not_live(own_lab: Lab, pool: str) -> None:
    """Its thread waits for something; the port answers at once, with the reason."""
    port, blocked = free_port(), own_lab.directory / "blocked"
    app = own_lab.module(CELERY)
    env = served(port, OTEL_QUEUE_LIVE_TIMEOUT="3", BLOCKED_BY=str(blocked))
    own_lab.celery(app, pool=pool, env=env)
    client = Client(port)
    client.until("/livez", 200)
    blocked.touch()
    client.until("/livez", 503, says="the consumer loop has not turned for")
    # A busy machine is slow now and then.
    assert any(client.get("/livez").seconds < 0.1 for _ in range(50))
    blocked.unlink()
    client.until("/livez", 200)


@on_redis
@pytest.mark.parametrize("number", [1, 2])
def test_blocked_consumer_of_dramatiq_is_not_live(own_lab: Lab, number: int) -> None:
    """Whichever process of the worker it is in."""
    port, blocked = free_port(), own_lab.directory / "blocked"
    app = own_lab.module(DRAMATIQ)
    env = served(port, OTEL_QUEUE_LIVE_TIMEOUT="3", BLOCKED_BY=str(blocked))
    own_lab.dramatiq(app, processes=number, env=env)
    client = Client(port)
    client.until("/readyz", 200)
    blocked.touch()
    own_lab.producer(app).run("ok.send_with_options(delay=1)")
    client.until("/livez", 503, says=f"the consumer of {app.queue}.DQ has not turned for")
    blocked.unlink()
    client.until("/livez", 200)


@pytest.mark.parametrize("framework", ["celery", "dramatiq"])
def test_worker_is_not_ready_while_the_broker_is_away(
    own_lab: Lab, framework: str, tmp_path: Path
) -> None:
    """It is live all the time: a restart would not bring the broker back."""
    broker_port, port = free_port(), free_port()
    is_redis = own_lab.broker.system == "redis"
    start = start_redis if is_redis else start_rabbitmq
    binary = find_binary("redis-server" if is_redis else "rabbitmq-server")
    broker, url = start(binary, tmp_path, port=broker_port)
    own_lab.broker = replace(own_lab.broker, url=f"{url}/0" if is_redis else url)
    client, env = Client(port), served(port, OTEL_QUEUE_LIVE_TIMEOUT="20")
    try:
        if framework == "celery":
            own_lab.celery(own_lab.module(CELERY), env=env)
        else:
            own_lab.dramatiq(own_lab.module(DRAMATIQ), processes=2, env=env)
        client.until("/readyz", 200)
        broker.close()
        client.until("/readyz", 503, says="does not consume")
        assert client.get("/livez").status == 200
        broker, _ = start(binary, tmp_path, port=broker_port)
        client.until("/readyz", 200, timeout=40)
    finally:
        broker.close()


@on_redis
def test_stats_of_dramatiq_with_gevent_add_up_to_what_ran(own_lab: Lab) -> None:
    """In both processes, whose threads are greenlets."""
    port = free_port()
    app = own_lab.module(DRAMATIQ)
    command = [str(Path(sys.executable).with_name("dramatiq-gevent")), app.module]
    worker = own_lab.processes.start(
        "dramatiq-gevent",
        [*command, "-p", "2", "-t", "4"],
        env=own_lab.env("worker", app, served(port)),
        cwd=own_lab.directory,
    )
    worker.wait_for_log("Worker process is ready for action", count=2, timeout=30)
    own_lab.producer(app).run("for n in range(20): ok.send(n)")
    found = Client(port).stats_until(lambda stats: stats["processed"] == {"success": 20})
    assert found["pool"] == "gevent"
    assert found["capacity"] == 8
    assert worker.stop() == 0


@on_redis
def test_dropped_spans_of_pool_processes_are_in_stats_and_metrics(own_lab: Lab) -> None:
    """Each counted once, though the pool processes have no metrics of their own."""
    port = free_port()
    app = own_lab.module(CELERY)
    producer = own_lab.producer(app)
    env = served(
        port,
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"http://127.0.0.1:{free_port()}/v1/traces",
        OTEL_EXPORTER_OTLP_TRACES_TIMEOUT="1",
    )
    own_lab.celery(app, env=env)
    producer.run("for n in range(6): ok.delay(n)")
    client = Client(port)
    client.stats_until(lambda stats: stats["telemetry"]["dropped"] == {"export_failed": 6})
    page = client.get("/metrics").body
    (line,) = [
        each for each in page.splitlines() if each.startswith("taskqueue_telemetry_dropped_")
    ]
    assert line.endswith(" 6.0")
    assert 'drop_reason="export_failed"' in line


@pytest.mark.timing
@on_redis
@pytest.mark.parametrize("framework", ["celery", "dramatiq"])
def test_worker_that_stops_is_live_and_not_ready_and_frees_the_port(
    own_lab: Lab, framework: str
) -> None:
    """Its tasks may take long; the end is not delayed."""
    port = free_port()
    client, env = Client(port), served(port, OTEL_QUEUE_LIVE_TIMEOUT="1")
    if framework == "celery":
        app = own_lab.module(CELERY)
        worker = own_lab.celery(app, env=env)
        own_lab.producer(app).run("nap.delay(5)")
    else:
        app = own_lab.module(DRAMATIQ)
        worker = own_lab.dramatiq(app, processes=1, env=env)
        own_lab.producer(app).run("nap.send(5)")
    client.stats_until(lambda stats: stats["in_flight"] == {"nap": 1})
    worker.send_signal(signal.SIGTERM)
    assert "stopping" in client.until("/readyz", 503).body
    client.stats_until(lambda stats: stats["longest_running_s"] > 3)
    assert client.get("/livez").status == 200
    assert worker.wait() == 0
    with pytest.raises(OSError, match="refused"):
        client.get("/livez")


@on_redis
@pytest.mark.parametrize("framework", ["celery", "dramatiq"])
def test_port_of_a_killed_worker_is_free(own_lab: Lab, framework: str) -> None:
    """Though its pool processes, or the other process of a Dramatiq worker, live on for a while."""
    port = free_port()
    client = Client(port)
    if framework == "celery":
        worker = own_lab.celery(own_lab.module(CELERY), env=served(port))
        client.until("/readyz", 200)
        children = worker.children()
        for child in children:
            os.kill(child, signal.SIGSTOP)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", port))
    else:
        own_lab.dramatiq(own_lab.module(DRAMATIQ), processes=1, env=served(port))
        client.until("/readyz", 200)
        own_lab.processes.last.kill()
        with pytest.raises(OSError, match="refused"):
            client.get("/readyz")


@on_redis
def test_another_process_of_dramatiq_takes_the_port(own_lab: Lab) -> None:
    """When the one that served is gone, and before the command stops them all."""
    port = free_port()
    client = Client(port)
    worker = own_lab.dramatiq(own_lab.module(DRAMATIQ), processes=2, env=served(port))
    client.until("/readyz", 200)
    os.kill(worker.pid, signal.SIGSTOP)
    first = listener_of(port)
    os.kill(first, signal.SIGKILL)
    client.until("/readyz", 200)
    assert listener_of(port) not in {0, first}


@on_redis
def test_taken_port_is_one_error_line_and_the_worker_runs(own_lab: Lab) -> None:
    """It serves as soon as the port is free."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        app = own_lab.module(CELERY)
        worker = own_lab.celery(app, env=served(port))
        own_lab.producer(app).run("ok.delay()")
        worker.wait_for_log(r"ok\[.*succeeded")
        worker.wait_for_log("ERROR.*OTEL_QUEUE_HTTP: the worker cannot listen at 127.0.0.1:")
    Client(port).until("/readyz", 200)
    assert worker.log.count("ERROR") == 1


@on_redis
@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_requests_beyond_eight_at_once_are_refused_and_all_are_answered(
    own_lab: Lab, pool: str
) -> None:
    """While the worker works; each answer comes at once."""
    port = free_port()
    app = own_lab.module(CELERY)
    producer = own_lab.producer(app)
    own_lab.celery(app, pool=pool, env=served(port))
    client = Client(port)
    client.until("/readyz", 200)
    producer.run("for n in range(200): ok.delay(n)")
    with ThreadPoolExecutor(20) as threads:
        replies = list(threads.map(lambda _: client.get("/stats"), range(20)))
    assert {reply.status for reply in replies} <= {200, 503}
    assert sum(reply.status == 200 for reply in replies) >= 8
    idle = [connected(port) for _ in range(8)]
    try:
        assert client.get("/stats").status == 503
    finally:
        for each in idle:
            each.close()
    client.until("/stats", 200)


@on_redis
@pytest.mark.parametrize("http", ["on", "off"])
def test_inspect_answers_the_object_of_stats(own_lab: Lab, http: str) -> None:
    """Without the port it says what it does not know, and why."""
    port = free_port()
    app = own_lab.module(CELERY)
    producer = own_lab.producer(app)
    worker = own_lab.celery(app, env=served(port) if http == "on" else {})
    producer.run("ok.delay()")
    worker.wait_for_log(r"ok\[.*succeeded")
    if http == "on":
        Client(port).stats_until(lambda stats: stats["processed"] == {"success": 1})
    command = [sys.executable, "-m", "celery", "-A", app.module, "inspect", "--json", "otel_queue"]
    inspect = own_lab.processes.start("inspect", command, env=own_lab.env("cli", app))
    assert inspect.wait() == 0
    (found,) = json.loads(inspect.log.splitlines()[-1]).values()
    assert found["capacity"] == 2
    assert found["framework"] == "celery"
    if http == "on":
        assert found.keys() == Client(port).stats().keys()
        assert found["processed"] == {"success": 1}
    else:
        assert found["processed"] is None
        assert found["unknown"]["processed"] == "OTEL_QUEUE_HTTP is not set in the worker"


@on_redis
def test_worker_without_the_variable_has_no_thread_and_no_import_more(own_lab: Lab) -> None:
    """Neither a server nor prometheus_client is loaded."""
    app = own_lab.app(
        """
        import sys, threading
        from celery import Celery, signals
        from otel_queue_plugins.celery import instrument
        from tests.brokers.apps.settings import celery_settings
        app = Celery("shop")
        app.conf.update(celery_settings())
        instrument(app)
        @signals.worker_ready.connect
        def ready(**_):
            loaded = [name for name in sys.modules if name.startswith(
                ("prometheus_client", "http.server", "otel_queue_plugins.worker_http.s"))]
            threads = [each.name for each in threading.enumerate()
                       if each.name.startswith(("otel-queue-http", "otel-queue-snap"))]
            print("loaded", loaded, threads, flush=True)
        """
    )
    worker = own_lab.celery(app)
    worker.wait_for_log(r"loaded \[\] \[\]")


def connected(port: int) -> socket.socket:
    """A connection that sends nothing."""
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def listener_of(port: int) -> int:
    """The pid of the process that listens at a port of loopback; 0 if none does (Linux)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if entry.readlink().name in {f"socket:[{inode}]" for inode in inodes}:
                return int(entry.parts[2])
    return 0


OWN_PROVIDERS = """
from celery import Celery
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from otel_queue_plugins.celery import instrument
from tests.brokers.apps.settings import celery_settings

app = Celery("shop")
app.conf.update(celery_settings())
instrument(
    app,
    meter_provider=MeterProvider(shutdown_on_exit=False),
    tracer_provider=TracerProvider(shutdown_on_exit=False),
)

@app.task(name="nap")
def nap(seconds):
    import time
    time.sleep(seconds)
"""


@on_redis
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_numbers_of_the_providers_of_an_application(own_lab: Lab, pool: str) -> None:
    """In one process they are gathered; of pool processes they are unknown, and the reason said."""
    port = free_port()
    app = own_lab.app(OWN_PROVIDERS)
    worker = own_lab.celery(app, pool=pool, env=served(port))
    own_lab.producer(app).run("nap.delay(0); nap.delay(6)")
    client = Client(port)
    worker.wait_for_log(r"nap\[.*succeeded")
    found = client.stats_until(lambda stats: stats["in_flight"] == {"nap": 1})
    assert found["telemetry"]["exported"] is None
    assert "application's" in found["unknown"]["telemetry.exported"]
    if pool == "threads":
        assert found["processed"] == {"success": 1}
        assert client.get("/metrics").status == 200
    else:
        reason = "each pool process keeps its own numbers"
        assert found["processed"] is found["retries"] is found["dead_letters"] is None
        assert reason in found["unknown"]["processed"]
        reply = client.get("/metrics")
        assert (reply.status, reason in reply.body) == (503, True)


@pytest.mark.timing
@on_redis
@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent", "eventlet"])
def test_answers_come_within_the_bound_while_tasks_burn_processor_time(
    own_lab: Lab, pool: str
) -> None:
    """Half of twenty requests one after the other, at least, in one of five series for each path.

    What else the machine is busy with makes answers slower and never faster, so one series shows
    what the worker can do.
    """
    port, lasting = free_port(), own_lab.directory / "lasting"
    lasting.touch()
    app = own_lab.module(CELERY)
    worker = own_lab.celery(app, pool=pool, concurrency=2, env=served(port))
    client = Client(port)
    client.until("/stats", 200)
    own_lab.producer(app).run(f"for _ in range(2): burn_while.delay({str(lasting)!r})")
    worker.wait_for_log(r"burn_while\[.*received", count=1 if pool in GREEN else 2)

    def median(path: str) -> float:
        seconds = sorted(client.get(path).seconds for _ in range(20))
        print(pool, path, [round(each * 1000) for each in seconds])  # noqa: T201 - for the reader
        return seconds[10]

    for path in ("/stats", "/livez", "/readyz"):
        assert any(median(path) < 0.1 for _ in range(5))
    assert not re.search(r"burn_while\[.*succeeded", worker.log)
    lasting.unlink()
