"""Real workers and producers of an app over a real broker, with an OTLP receiver.

How to write a test on real brokers. The app is source text (or a module under
`tests/brokers/apps`); its workers start once per module, broker and pool; each test runs a snippet
in a producer process that has imported the app, under a trace of its own, and asserts on the spans
of that trace:

    APP = '''
    from celery import Celery
    from otel_queue_plugins.celery import instrument
    from tests.brokers.apps.settings import celery_settings

    app = Celery("shop")
    app.conf.update(celery_settings())
    instrument(app)

    @app.task(name="add")
    def add(x, y):
        return x + y
    '''

    @pytest.fixture(scope="module", params=["prefork", "threads", "solo"])
    def shop(lab, request):
        app = lab.app(APP)
        producer = lab.producer(app)
        lab.celery(app, pool=request.param)
        yield producer
        lab.close()

    def test_task_is_two_spans_in_trace_of_caller(shop, lab):
        sent = shop.run("result = add.delay(1, 2).id")
        send, process = lab.receiver.expect_trace(sent.trace_id, 2)
        assert send.parent_id == sent.span_id
        assert process.attributes["messaging.message.id"] == sent.result

`lab` has module scope and one instance per broker (`redis`, `rabbitmq`). A test that kills,
starves or stops its worker takes `own_lab`, the same for one test. Every app has a queue of its
own. Everything started is killed at the end, and a failed test shows the logs of what ran.
For a command of another shape: `lab.processes.start(name, command, env=lab.env(service, app))`;
over gRPC: `dataclasses.replace(own_lab, receiver=grpc_receiver)`.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tests.brokers.harness_producer import Producer
from tests.environment import ROOT, clean_environment, telemetry_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.processes import ManagedProcess, Processes
    from tests.receiver import FaultyReceiver, GrpcReceiver
    from tests.services import Broker

_CELERY_QUICK = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "INFO")


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A module that the processes of a lab import, and its queue (`QUEUE` in their environment)."""

    module: str
    queue: str


@dataclass(slots=True, kw_only=True)
class Lab:
    """One broker, one receiver, and the processes of the tests that share them.

    `environment` holds for every process started here; each method's `env` adds to it.
    """

    broker: Broker
    receiver: FaultyReceiver | GrpcReceiver
    processes: Processes
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    _producers: list[Producer] = field(default_factory=list)
    _apps: int = 0

    def app(self, source: str, *, queue: str | None = None) -> App:
        """Write an app module. Without `queue` it gets one that no other app uses."""
        app = self.module("", queue=queue)
        module = app.queue.replace("-", "_") if queue is None else f"app_{secrets.token_hex(4)}"
        (self.directory / f"{module}.py").write_text(textwrap.dedent(source))
        return replace(app, module=module)

    def module(self, name: str, *, queue: str | None = None) -> App:
        """Use an existing module as app, by its dotted name."""
        self._apps += 1
        return App(module=name, queue=queue or f"{self.broker.queue}-{self._apps}")

    def celery(
        self,
        app: App,
        *,
        pool: str = "prefork",
        concurrency: int = 2,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        ready: str = r" ready\.$",
    ) -> ManagedProcess:
        """Start `celery worker` and wait until it is ready. Service name `worker`."""
        command = [sys.executable, "-m", "celery", "-A", app.module, "worker", "-P", pool]
        command += ["-c", str(concurrency), "-n", f"{app.queue}@test", *_CELERY_QUICK, *arguments]
        worker = self._start(f"celery-{pool}", command, "worker", app, env)
        worker.wait_for_log(ready)
        return worker

    def beat(self, app: App, env: Mapping[str, str] | None = None) -> ManagedProcess:
        """Start `celery beat` with a schedule file of its own. Service name `beat`."""
        schedule = str(self.directory / f"{app.queue}.schedule")
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            app.module,
            "beat",
            "-l",
            "INFO",
            "-s",
            schedule,
        ]
        beat = self._start("celery-beat", [*command, "--pidfile="], "beat", app, env)
        beat.wait_for_log("beat: Starting")
        return beat

    def dramatiq(
        self,
        app: App,
        *,
        processes: int = 1,
        threads: int = 2,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> ManagedProcess:
        """Start the `dramatiq` command and wait until every process is ready.

        Service name `worker`.
        """
        command = [
            sys.executable,
            "-m",
            "dramatiq",
            app.module,
            "-p",
            str(processes),
            "-t",
            str(threads),
        ]
        worker = self._start("dramatiq", [*command, *arguments], "worker", app, env)
        worker.wait_for_log("Worker process is ready for action", count=processes)
        return worker

    def producer(self, app: App, env: Mapping[str, str] | None = None) -> Producer:
        """Start a process with `app` imported. Service name `web`.

        It imports while you start the worker: the first `run` waits for it.
        """
        answers, answers_there = os.pipe()
        command = [
            sys.executable,
            "-m",
            "tests.brokers.producer_main",
            app.module,
            str(answers_there),
        ]
        try:
            process = self._start("producer", command, "web", app, env, pass_fds=[answers_there])
        finally:
            os.close(answers_there)
        producer = Producer(process, answers)
        self._producers.append(producer)
        return producer

    def script(
        self, source: str, *, app: App, env: Mapping[str, str] | None = None
    ) -> ManagedProcess:
        """Start a script, as a user would, that can import `app.module`. Service name `script`.

        Wait for its end with `wait()`.
        """
        path = self.directory / f"script_{secrets.token_hex(4)}.py"
        path.write_text(textwrap.dedent(source))
        return self._start("script", [sys.executable, str(path)], "script", app, env)

    def env(self, service: str, app: App, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the whole environment of a process of this lab."""
        return {
            **clean_environment(),
            "PYTHONPATH": os.pathsep.join([str(self.directory), str(ROOT)]),
            **telemetry_environment(
                self.receiver.endpoint, service=service, protocol=self.receiver.protocol
            ),
            "BROKER_URL": self.broker.url,
            "RESULTS_URL": self.broker.results_url,
            "QUEUE": app.queue,
            **self.environment,
            **(extra or {}),
        }

    def close(self) -> None:
        """Kill every process of this lab. New ones can be started."""
        self.processes.close()
        while self._producers:
            self._producers.pop().close()

    def _start(
        self,
        name: str,
        command: Sequence[str],
        service: str,
        app: App,
        env: Mapping[str, str] | None,
        pass_fds: Sequence[int] = (),
    ) -> ManagedProcess:
        return self.processes.start(
            name,
            command,
            env=self.env(service, app, env),
            cwd=self.directory,
            stdin=subprocess.PIPE if pass_fds else subprocess.DEVNULL,
            pass_fds=pass_fds,
        )
