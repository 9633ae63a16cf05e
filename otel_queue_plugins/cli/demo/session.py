"""One run of the demo: broker, receiver, worker, web side, and the wait for their telemetry."""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from otel_queue_plugins.cli.demo import brokers
from otel_queue_plugins.cli.demo.arrival import Arrival, check
from otel_queue_plugins.cli.demo.brokers import DemoBroker
from otel_queue_plugins.cli.demo.children import Child, running
from otel_queue_plugins.cli.demo.environment import environment_for
from otel_queue_plugins.cli.demo.failure import DemoError
from otel_queue_plugins.cli.demo.frameworks import Framework
from otel_queue_plugins.cli.demo.progress import Progress
from otel_queue_plugins.cli.demo.scenarios import Scenario, scenarios
from otel_queue_plugins.cli.receiver import OtlpReceiver

_GRACE_S = 1.0
_GRACE_AT_REAL_BROKER_S = 6.0
_CLEAN_S = 5.0
_WEB_LOG = "web.log"
_LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run, until `deadline` (monotonic clock). `broker_url` None: the embedded broker."""

    framework: Framework
    broker_url: str | None
    deadline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The state at the end: everything arrived, unless `error` says otherwise."""

    scenarios: tuple[Scenario, ...]
    broker: DemoBroker
    arrival: Arrival
    error: DemoError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """What all parts of a run share."""

    plan: Plan
    broker: DemoBroker
    queue: str
    folder: Path
    receiver: OtlpReceiver

    def environment(self, service: str) -> dict[str, str]:
        return environment_for(
            service,
            endpoint=self.receiver.endpoint,
            broker=self.broker,
            queue=self.queue,
            base=os.environ,
        )


@contextmanager
def run(plan: Plan, receiver: OtlpReceiver, progress: Progress) -> Iterator[Run]:
    """Do the run. On leaving, the processes and what they wrote to disk or broker go.

    Raises DemoError if there is no telemetry to show.
    """
    with ExitStack() as stack:
        stage = _set_stage(plan, receiver, progress, stack)
        on_amqp = stage.broker.url.startswith("amqp")
        expected = scenarios(plan.framework.name, joins_groups=not on_amqp)
        worker = _start_worker(stage, progress, stack)
        _send(stage, len(expected), progress)
        arrival, error = _receive(stage, expected, worker, progress)
        yield Run(scenarios=expected, broker=stage.broker, arrival=arrival, error=error)


def _set_stage(plan: Plan, receiver: OtlpReceiver, progress: Progress, stack: ExitStack) -> _Stage:
    with progress.step("broker") as say:
        folder = tempfile.TemporaryDirectory(prefix="otel-queue-demo-", ignore_cleanup_errors=True)
        path = Path(stack.enter_context(folder))
        if plan.broker_url:
            broker = brokers.given(plan.broker_url)
        else:
            broker = stack.enter_context(brokers.embedded(plan.framework.name, path))
        say(broker.label)
    stage = _Stage(
        plan=plan,
        broker=broker,
        queue=f"otel-queue-demo-{secrets.token_hex(4)}" if plan.broker_url else "shop",
        folder=path,
        receiver=receiver,
    )
    if plan.broker_url:
        stack.callback(_clean, stage)
    return stage


def _start_worker(stage: _Stage, progress: Progress, stack: ExitStack) -> Child:
    with progress.step("worker") as say:
        worker = stack.enter_context(
            running(
                "worker",
                stage.plan.framework.worker(stage.queue),
                env=stage.environment("worker"),
                log=stage.folder / "worker.log",
                grace=_GRACE_AT_REAL_BROKER_S if stage.plan.broker_url else _GRACE_S,
            )
        )
        say(f"{stage.plan.framework.name}, process {worker.pid}")
        worker.wait_until_logged(stage.plan.framework.ready, stage.plan.deadline)
    return worker


def _send(stage: _Stage, requests: int, progress: Progress) -> None:
    command, env = stage.plan.framework.web(), stage.environment("web")
    log = stage.folder / _WEB_LOG
    with progress.step("web") as say, running("web", command, env=env, log=log, grace=0) as web:
        say(f"{requests} requests, process {web.pid}")
        web.wait_for_success(stage.plan.deadline)


def _receive(
    stage: _Stage, expected: tuple[Scenario, ...], worker: Child, progress: Progress
) -> tuple[Arrival, DemoError | None]:
    receiver = stage.receiver
    with progress.step("telemetry") as say:
        while True:
            spans, points = receiver.spans(), receiver.points()
            arrival = check(expected, spans, points)
            bar = progress.bar(arrival.spans, arrival.expected_spans)
            say(f"{bar} {arrival.spans} of {arrival.expected_spans} spans")
            if not arrival.missing:
                return arrival, None
            if error := _reason_to_stop(stage, arrival, worker):
                return arrival, error
            receiver.wait_for(partial(_has_more, receiver, len(spans) + len(points)), _LOOK_EVERY_S)


def _has_more(receiver: OtlpReceiver, than: int) -> bool:
    return len(receiver.spans()) + len(receiver.points()) > than


def _reason_to_stop(stage: _Stage, arrival: Arrival, worker: Child) -> DemoError | None:
    if time.monotonic() > stage.plan.deadline:
        return DemoError("this did not arrive in time:", (*arrival.missing, *worker.tail()))
    try:
        worker.check_alive()
    except DemoError as error:
        return error
    return None


def _clean(stage: _Stage) -> None:
    """Leave nothing on a broker that is not ours. What cannot be done is left."""
    if not (stage.folder / _WEB_LOG).exists():
        return
    env = stage.environment("cleaner") | {"OTEL_SDK_DISABLED": "true"}
    command, log = stage.plan.framework.web("--clean"), stage.folder / "clean.log"
    with suppress(DemoError), running("cleaner", command, env=env, log=log, grace=0) as cleaner:
        cleaner.wait_for_success(time.monotonic() + _CLEAN_S)
