"""Live and ready: what counts, and the reason that a probe shows."""

from __future__ import annotations

from dataclasses import replace

from otel_queue_plugins.worker_http.health import why_not_live, why_not_ready
from otel_queue_plugins.worker_http.process_state import ProcessState, decode, encode
from otel_queue_plugins.worker_http.worker import Loop

STATE = ProcessState(
    pid=7,
    phase="running",
    loops=[Loop("the loop", 100.0, consumes=True)],
    captured_at=0.0,
    capacity=None,
    scheduled=0,
    reserved=None,
    running=[("add", 1.0)],
    exported=None,
    dropped={},
    last_export_at=None,
    why_no_metrics=None,
    metrics=b"\n\x00",
)


def test_loop_that_has_not_turned_for_the_timeout_is_not_live() -> None:
    """The reason names the process, the loop and the time."""
    assert why_not_live([STATE], 160.0, 60.0) is None
    reason = why_not_live([STATE, STATE], 161.0, 60.0)
    assert reason == "process 7: the loop has not turned for 61 s"


def test_loop_that_need_not_turn_is_live() -> None:
    """It is paused, or its worker stops and waits for tasks."""
    paused = replace(STATE, loops=[Loop("the loop", None, consumes=False)])
    assert why_not_live([paused, replace(STATE, phase="stopping")], 9999.0, 60.0) is None
    assert why_not_live([], 9999.0, 60.0) is None


def test_worker_is_ready_while_all_its_loops_consume() -> None:
    """Not before, not after, and not while one of them has lost the broker."""
    lost = Loop("the other", 100.0, consumes=False)
    assert why_not_ready([STATE]) is None
    assert why_not_ready([STATE, replace(STATE, phase="starting")]) == "process 7 is starting"
    assert why_not_ready([replace(STATE, phase="stopping")]) == "process 7 is stopping"
    partly = replace(STATE, loops=[*STATE.loops, lost])
    assert why_not_ready([partly]) == "process 7 does not consume: the other"
    assert why_not_ready([replace(STATE, loops=[])]) == "process 7 does not consume: no queue"


def test_state_travels_between_processes_unchanged() -> None:
    """With metrics of any bytes."""
    assert decode(encode(STATE)) == STATE
