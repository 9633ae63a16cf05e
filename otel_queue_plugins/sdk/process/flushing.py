"""Get everything out before a process ends, within a bound."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_queue_plugins.sdk import relay
from otel_queue_plugins.sdk.config import plan
from otel_queue_plugins.sdk.export.outage import Outage
from otel_queue_plugins.sdk.process import background
from otel_queue_plugins.sdk.process.background import Work
from otel_queue_plugins.sdk.providers.global_providers import OWN, reachable_providers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Of the bound that a user sets, what is spent on waiting; the rest is for ending.
_SHARE = 0.7
# What is spent in an outage that is known already: long enough for a backend that is back.
_IN_OUTAGE = 0.25
_outage = Outage()


class _Attempt(NamedTuple):
    pid: int
    deadline: float
    works: tuple[Work, ...]


_attempts = [_Attempt(0, 0.0, ())]
_afterwards: list[Callable[[], None]] = []


def then(act: Callable[[], None]) -> None:
    """Call `act` after each flush from now on, however it went."""
    _afterwards.append(act)


def flush(timeout: float | None = None) -> bool:
    """Export what this process has recorded, within a bound over all signals.

    Works on the providers of ours and on a user's. Never raises, may be called again: while an
    earlier call's attempt hangs, no more is waited than that call had left. After a flush that was
    not done in time, in this process or one forked from the same, others wait 0.25 s only.

    Args:
        timeout: Seconds; None takes `OTEL_QUEUE_FLUSH_TIMEOUT` (5).

    Returns:
        True when done, False when it was not done in time.
    """
    return _flush(timeout, reachable_providers())


def flush_own() -> bool:
    """`flush` for the exit of the interpreter, of the providers of ours.

    A user's have an exit handler of their own: it may have run already, and then they complain.
    """
    return _flush(None, OWN.values())


def _flush(timeout: float | None, providers: Iterable[Any]) -> bool:
    try:
        bound = plan.flush_timeout(os.environ) if timeout is None else timeout
        is_done = relay.hand_over(bound * _SHARE)
        is_done = _is_done_in_time(_attempt(bound, providers)) and is_done
        for act in _afterwards:
            act()
    except Exception:  # noqa: BLE001 - an ending process ends
        return False
    return is_done


def _is_done_in_time(attempt: _Attempt) -> bool:
    for work in attempt.works:
        work.wait(max(0.0, attempt.deadline - time.monotonic()))
    if _hangs(attempt):
        _outage.begins()
        return False
    if attempt.works:
        _outage.ends()
    return True


def _attempt(bound: float, providers: Iterable[Any]) -> _Attempt:
    last = _attempts[-1]
    if last.pid == os.getpid() and _hangs(last):
        return last
    wait = bound * _SHARE
    deadline = time.monotonic() + (min(wait, _IN_OUTAGE) if _outage.is_on() else wait)
    works = tuple(background.start(partial(act, int(bound * 1000))) for act in _flushes(providers))
    _attempts[:] = [_Attempt(os.getpid(), deadline, works)]
    return _attempts[-1]


def _hangs(attempt: _Attempt) -> bool:
    return any(work.is_going_on() for work in attempt.works)


def _flushes(providers: Iterable[Any]) -> list[Callable[[int], Any]]:
    if "opentelemetry.sdk" not in sys.modules:
        return []
    providers = [each for each in providers if not relay.needs_no_flush(each)]
    flushes = (getattr(provider, "force_flush", None) for provider in providers)
    return [act for act in flushes if callable(act)]
