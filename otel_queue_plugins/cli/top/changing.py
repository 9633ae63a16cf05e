"""A change of a queue, step by step, with a connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Final, Literal

from rich.progress import Progress

from otel_queue_plugins.brokers.facts import Change, Plan, State
from otel_queue_plugins.brokers.selection import Selection
from otel_queue_plugins.cli.queues import changes, purge, requeue
from otel_queue_plugins.cli.queues.access import Access
from otel_queue_plugins.cli.queues.audit import Audit
from otel_queue_plugins.cli.queues.movement import Movement
from otel_queue_plugins.cli.top.broker import Open

Verb = Literal["requeue", "purge"]

_CARRY_OUT: Final[
    Mapping[Verb, Callable[[Access, Plan, Selection, Movement], tuple[Change, Audit]]]
] = {"requeue": requeue.carry_out, "purge": purge.carry_out}


class Changing:
    """`plan`, then perhaps `carry_out`, both in a thread; `close` at the end."""

    def __init__(
        self, open_access: Open, verb: Verb, queue: str, state: State, selection: Selection
    ) -> None:
        self.verb = verb
        self._open = open_access
        self._queue = queue
        self._state = state
        self._selection = selection
        self._access: Access | None = None
        self._movement: Movement | None = None
        self._is_idle = threading.Event()
        self._is_idle.set()

    @property
    def done(self) -> int:
        """How many messages were changed so far, as far as they are seen one by one."""
        return self._movement.done if self._movement else 0

    @property
    def selected(self) -> str:
        """Which messages, if not all."""
        chosen = self._selection
        words = {"task": chosen.task, "id": chosen.id}
        found = [f"{name} {value}" for name, value in words.items() if value is not None]
        if chosen.older_than is not None:
            found.append(f"older than {chosen.older_than:g} s")
        return ", ".join(found)

    def plan(self) -> Plan:
        """What would be done. Raises BrokerError, RefusedError."""
        access = self._access = self._open()
        queue, state, selection = self._queue, self._state, self._selection
        if self.verb == "requeue":
            return access.look_again(lambda reader: reader.plan_requeue(queue, selection))
        return access.look_again(lambda reader: reader.plan_purge(queue, state, selection))

    def question(self, plan: Plan) -> str:
        """What to ask before it is done."""
        return changes.question(self.verb.capitalize(), plan)

    def carry_out(self, plan: Plan) -> list[str]:
        """Do it; what became of it, as lines. Raises BrokerError, RefusedError, StoppedError."""
        if self._access is None:
            raise RuntimeError("there was no plan")
        self._movement = Movement(Progress(disable=True), total=plan.matched)
        act = _CARRY_OUT[self.verb]
        self._is_idle.clear()
        try:
            change, audit = act(self._access, plan, self._selection, self._movement)
        finally:
            self._is_idle.set()
        said = [changes.summary(f"{self.verb}d", change), *changes.reasons_of(change)]
        return [*said, changes.record_of(audit)] if audit.trace_id else said

    def stop(self) -> None:
        """End before the next message."""
        if self._movement:
            self._movement.stop()

    def wait(self, seconds: float) -> None:
        """Wait until nothing is being changed, with its record sent."""
        self._is_idle.wait(seconds)

    def close(self) -> None:
        """Close the connection."""
        if self._access is not None:
            self._access.close()
