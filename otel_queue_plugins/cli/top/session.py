"""What one run of `otel-queue top` works with, and what it knows."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field

from otel_queue_plugins.brokers.answers import all_unknown
from otel_queue_plugins.brokers.facts import QueueState, Source
from otel_queue_plugins.cli.queues import audit
from otel_queue_plugins.cli.top.broker import Broker, Open, Queues
from otel_queue_plugins.cli.top.history import History
from otel_queue_plugins.cli.top.traces import TraceSource
from otel_queue_plugins.cli.top.workers import FoundWorkers, Workers
from otel_queue_plugins.cli.view.glyphs import Glyphs


@dataclass(slots=True, kw_only=True)
class Numbers:
    """What the last look at the queues has found. `problem` is why the broker did not answer."""

    states: tuple[QueueState, ...] = ()
    history: History = field(default_factory=History)
    workers: FoundWorkers | None = None
    problem: str = ""
    looked_at: float | None = None

    def take(self, states: Sequence[QueueState]) -> None:
        """Take in what a look has found."""
        self.states, self.problem, self.looked_at = tuple(states), "", time.time()
        self.history.add(states)

    def fail(self, problem: str) -> None:
        """Show no number that may be wrong by now."""
        self.problem = problem
        self.states = tuple(all_unknown(each.name, each.system, problem) for each in self.states)
        self.history.add(self.states)

    def of(self, queue: str) -> QueueState | None:
        """The numbers of one queue; None if it is not there."""
        return next((state for state in self.states if state.name == queue), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The arguments and what they lead to.

    Looks at messages have a connection of their own, so that they do not wait for the numbers.
    """

    parsed: Namespace
    source: Source
    open_access: Open
    queues: Queues
    messages: Broker
    workers: Workers
    traces: Sequence[TraceSource]
    glyphs: Glyphs
    receives_at: str | None = None
    numbers: Numbers = field(default_factory=Numbers)

    def record(self, operation: str, *, matched: int, queue: str = "", state: str = "") -> None:
        """Send a span about a look, if the command line or the environment asks for it."""
        looked = audit.of_look(self.parsed, operation, self.source, queue=queue, state=state)
        with looked as span:
            if span:
                span.count(matched=matched, changed=0)

    @property
    def may_write(self) -> bool:
        """Whether queues may be changed."""
        return bool(self.parsed.write)
