"""A day of traffic through `TaskQueueSampler`, on a fake clock.

Processes that each have a sampler of their own begin traces of many tasks, whose frequencies differ
by a factor of thousands; now and then one task bursts. `python -m tests.sampling_simulation` prints
what was kept of a whole day; a test does the same with less.
"""

from __future__ import annotations

# ruff: noqa: T201 - its output is the table
import math
import random
import sys
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import SpanKind, Tracer

from otel_queue_plugins.core.messages import Delivery, Ending, Message, Outcome, Route
from otel_queue_plugins.core.telemetry import QueueTelemetry
from otel_queue_plugins.sampling import KeepingSpanProcessor, TaskQueueSampler
from otel_queue_plugins.sdk import fastpath
from otel_queue_plugins.sdk.sampling import thresholds

RULES = "task:charge=1.0;task:audit.*=0.01;queue:bulk=1/s;default=2/s"
_ROOT = Context()
_DAY = 86_400


class Traffic(NamedTuple):
    """What is sent, and for how long.

    Args:
        tasks: Their number.
        processes: Each with a sampler.
        seconds: How long it lasts.
        per_second: Traces that begin in all processes, on average; it follows the time of day.
        bursts: How often one task comes a hundred times as often as usual, for a minute.
    """

    tasks: int = 1000
    processes: int = 10
    seconds: int = _DAY
    per_second: float = 100.0
    bursts: int = 48


DAY = Traffic()
SHORT = Traffic(tasks=300, processes=3, seconds=1800, per_second=60.0, bursts=3)


class Task(NamedTuple):
    """One task on one queue, and its part of all traffic."""

    name: str
    queue: str
    part: float


@dataclass
class Tally:
    """What became of the traces that match one rule."""

    begun: int = 0
    kept: int = 0
    weight: float = 0.0
    most_in_a_minute: int = 0
    tasks: dict[str, list[float]] = field(default_factory=dict)  # begun, kept, weight

    def add(self, task: str, threshold: int | None) -> None:
        of_task = self.tasks.setdefault(task, [0, 0, 0.0])
        self.begun += 1
        of_task[0] += 1
        if threshold is not None:
            stands_for = 1 / thresholds.to_probability(threshold)
            self.kept += 1
            self.weight += stands_for
            of_task[1] += 1
            of_task[2] += stands_for


class FakeTime:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def tasks_of(number: int) -> list[Task]:
    """One task that must be kept, some that are hardly wanted, one queue of bulk, and the rest."""
    parts = [1 / rank**1.1 for rank in range(1, number + 1)]
    total = sum(parts)
    made = []
    for index, part in enumerate(parts):
        queue = "bulk" if index % 5 == 1 else "default"
        name = f"audit.{index}" if index % 10 == 3 else f"task.{index}"
        made.append(Task("charge" if index == 20 else name, queue, part / total))
    return made


def rule_of(task: Task) -> str:
    """As `RULES` has it."""
    if task.name == "charge":
        return "task:charge=1.0"
    if task.name.startswith("audit."):
        return "task:audit.*=0.01"
    return "queue:bulk=1/s" if task.queue == "bulk" else "default=2/s"


def run(traffic: Traffic, seed: int = 1) -> dict[str, Tally]:
    """Send it all; returns what became of it, by rule."""
    chance, clock = random.Random(seed), FakeTime()
    samplers = [TaskQueueSampler(RULES, clock=clock) for _ in range(traffic.processes)]
    tasks = tasks_of(traffic.tasks)
    about = [{"taskqueue.task.name": t.name, "messaging.destination.name": t.queue} for t in tasks]
    rules, parts = [rule_of(task) for task in tasks], [task.part for task in tasks]
    bursts = {chance.randrange(traffic.seconds // 60): i for i in range(traffic.bursts)}
    tallies = {rule: Tally() for rule in sorted(set(rules))}
    for minute in range(traffic.seconds // 60):
        before = {rule: tally.kept for rule, tally in tallies.items()}
        weights = parts.copy()
        if minute in bursts:
            burst = chance.randrange(traffic.tasks // 2)
            weights[burst] *= 100
        time_of_day = 1 + 0.8 * math.sin(2 * math.pi * minute * 60 / traffic.seconds)
        number = int(traffic.per_second * 60 * time_of_day * sum(weights))
        chosen = chance.choices(range(len(tasks)), weights, k=number)
        for position, index in enumerate(chosen):
            clock.now = 60 * (minute + position / number)
            sampler = samplers[chance.randrange(traffic.processes)]
            tallies[rules[index]].add(tasks[index].name, _decide(sampler, chance, about[index]))
        for rule, tally in tallies.items():
            tally.most_in_a_minute = max(tally.most_in_a_minute, tally.kept - before[rule])
    return tallies


def _decide(sampler: TaskQueueSampler, chance: random.Random, about: dict[str, Any]) -> int | None:
    trace_id = chance.getrandbits(128) or 1
    result = sampler.should_sample(_ROOT, trace_id, "send", SpanKind.PRODUCER, about, ())
    if result.decision is Decision.DROP:
        return None
    return thresholds.threshold_of(result.trace_state)


class Counting(SpanProcessor):
    """In the place of an exporter: how many failed deliveries it gets, and how many others."""

    def __init__(self) -> None:
        self.failed = self.others = 0

    def on_end(self, span: ReadableSpan) -> None:
        if span.kind is SpanKind.CONSUMER:
            is_failed = (span.attributes or {}).get("taskqueue.task.outcome") == "failure"
            self.failed += is_failed
            self.others += not is_failed


def run_deliveries(number: int, processes: int, seed: int = 1) -> tuple[int, int, int]:
    """Deliveries with real spans, some of which fail, in bursts; under `RULES` with keep=errors.

    Returns how many failed, how many of those were exported, and how many others were.
    """
    chance, clock, failed = random.Random(seed), FakeTime(), 0
    exported, workers = Counting(), []
    for _ in range(processes):
        sampler = TaskQueueSampler(RULES, keep="errors", clock=clock)
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(KeepingSpanProcessor(sampler, exported))
        telemetry = QueueTelemetry("celery", tracer_provider=provider, fast_path=fastpath)
        workers.append((telemetry, provider.get_tracer("app")))
    tasks = tasks_of(200)
    for _ in range(number):
        clock.now += chance.expovariate(300)
        task = chance.choices(tasks, [task.part for task in tasks])[0]
        telemetry, tracer = chance.choice(workers)
        is_failure = chance.random() < (0.5 if clock.now % 10 < 0.5 else 0.01)
        failed += is_failure
        _deliver(telemetry, tracer, task, Outcome.FAILURE if is_failure else Outcome.SUCCESS)
    return failed, exported.failed, exported.others


def _deliver(telemetry: QueueTelemetry, tracer: Tracer, task: Task, outcome: Outcome) -> None:
    route, carrier = Route(system="redis", destination=task.queue, task=task.name), {}
    telemetry.end_send(telemetry.start_send(Message(route=route, id="m"), carrier))
    operation = telemetry.start_process(Delivery(route=route, id="m"), carrier)
    with tracer.start_as_current_span("query"):
        pass
    telemetry.end_process(operation, Ending(outcome))


def error(tally: Tally) -> float:
    """How far the weights are off, as a share of the truth."""
    return tally.weight / tally.begun - 1


def unseen(tally: Tally, at_least: int) -> list[str]:
    """Tasks with so many traces of which not one was kept."""
    return [name for name, (begun, kept, _) in tally.tasks.items() if begun >= at_least > 0 == kept]


def table(traffic: Traffic, tallies: dict[str, Tally]) -> str:
    """A row for each rule."""
    head = ("rule", "tasks", "begun", "kept", "kept/s/process", "most in 1 min")
    more = ("weights", "off by", "worst big task", "unseen")
    row = "{:<18} {:>5} {:>9} {:>8} {:>14} {:>13} {:>11} {:>8} {:>14} {:>6}"
    lines = [row.format(*head, *more)]
    for rule, tally in tallies.items():
        rate = tally.kept / traffic.seconds / traffic.processes
        peak = tally.most_in_a_minute / 60 / traffic.processes
        big = [
            abs(weight / begun - 1) for begun, kept, weight in tally.tasks.values() if kept > 1e4
        ]
        worst = f"{max(big):.2%}" if big else "-"
        about = (rule, len(tally.tasks), tally.begun, tally.kept, f"{rate:.2f}", f"{peak:.2f}")
        found = (f"{tally.weight:.0f}", f"{error(tally):.2%}", worst, len(unseen(tally, 1)))
        lines.append(row.format(*about, *found))
    return "\n".join(lines)


def main() -> None:
    """Print the table of a day."""
    traffic = SHORT if "--short" in sys.argv else DAY
    began = time.monotonic()
    tallies = run(traffic)
    print(f"{traffic}\nrules: {RULES}\n\n{table(traffic, tallies)}")
    failed, exported, others = run_deliveries(20_000, traffic.processes)
    print(f"\nkeep=errors, 20,000 deliveries: {failed} failed, {exported} of them exported")
    print(f"(of the others {others} were sampled)")
    print(f"\ntook {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
