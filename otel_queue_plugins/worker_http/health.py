"""Whether a worker is alive, and whether it is ready: the reasons if it is not."""

from __future__ import annotations

from collections.abc import Iterable

from otel_queue_plugins.worker_http.process_state import ProcessState


def why_not_live(states: Iterable[ProcessState], now: float, timeout: float) -> str | None:
    """The reason why a worker hangs; None while all its loops turn, or need not.

    `now` is `time.monotonic()`, which all processes of a machine share; `timeout` is in seconds.
    """
    for state in states:
        for loop in state.loops if state.phase != "stopping" else ():
            age = 0.0 if loop.turned_at is None else now - loop.turned_at
            if age > timeout:
                return f"process {state.pid}: {loop.name} has not turned for {age:.0f} s"
    return None


def why_not_ready(states: Iterable[ProcessState]) -> str | None:
    """The reason why a worker does not consume; None while all its processes do."""
    reasons = [reason for state in states if (reason := _why_not_consuming(state))]
    return reasons[0] if reasons else None


def _why_not_consuming(state: ProcessState) -> str | None:
    if state.phase != "running":
        return f"process {state.pid} is {state.phase}"
    idle = [loop.name for loop in state.loops if not loop.consumes]
    if idle or not state.loops:
        return f"process {state.pid} does not consume: {', '.join(idle) or 'no queue'}"
    return None
