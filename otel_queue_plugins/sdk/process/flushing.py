"""Export everything that was recorded before a process ends, within a bound."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_queue_plugins.sdk import relay
from otel_queue_plugins.sdk.config import plan
from otel_queue_plugins.sdk.export.outage import Outage
from otel_queue_plugins.sdk.global_providers import OWN, reachable_providers
from otel_queue_plugins.sdk.process import background
from otel_queue_plugins.sdk.process.background import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# The share of the user's bound that is spent on waiting. The rest is for the exit itself.
_SHARE = 0.7
# Seconds to wait during a known outage: enough for a backend that answers again.
_IN_OUTAGE = 0.25
_outage = Outage()


class _Attempt(NamedTuple):
    """A flush of one process, with the work of each provider."""

    pid: int
    deadline: float
    works: tuple[Work, ...]


_attempts = [_Attempt(0, 0.0, ())]
_after_flush: list[Callable[[], None]] = []


def call_after_flush(act: Callable[[], None]) -> None:
    """Call `act` after each flush from now on, whether it was done in time or not."""
    _after_flush.append(act)


def flush(timeout: float | None = None) -> bool:
    """Export what this process has recorded, within a bound over all signals.

    Flushes the providers that were set up here, and those that the application has set. Never
    raises. While an earlier flush hangs, a call waits for the rest of its time only. After a flush
    that was not done in time, in this process or one forked from the same, later ones wait 0.25 s.

    Args:
        timeout: Seconds; None takes `OTEL_QUEUE_FLUSH_TIMEOUT` (5).

    Returns:
        Whether everything was exported in time.
    """
    return _flush(timeout, reachable_providers())


def flush_own() -> bool:
    """Flush the providers that were set up here, at the exit of the interpreter.

    Those of the application have exit handlers of their own, after which a flush logs a warning.
    """
    return _flush(None, OWN.values())


def _flush(timeout: float | None, providers: Iterable[Any]) -> bool:
    try:
        bound = plan.flush_timeout(os.environ) if timeout is None else timeout
        is_done = relay.hand_over(bound * _SHARE)
        is_done = _is_done_in_time(_start_or_join(bound, providers)) and is_done
        for act in _after_flush:
            act()
    except Exception:  # noqa: BLE001 - an ending process ends
        return False
    return is_done


def _is_done_in_time(attempt: _Attempt) -> bool:
    for work in attempt.works:
        work.wait(max(0.0, attempt.deadline - time.monotonic()))
    if _is_hanging(attempt):
        _outage.begin()
        return False
    if attempt.works:
        _outage.end()
    return True


def _start_or_join(bound: float, providers: Iterable[Any]) -> _Attempt:
    last = _attempts[-1]
    if last.pid == os.getpid() and _is_hanging(last):
        return last
    wait = bound * _SHARE
    deadline = time.monotonic() + (min(wait, _IN_OUTAGE) if _outage.is_on() else wait)
    works = tuple(background.start(partial(act, int(bound * 1000))) for act in _flushes(providers))
    _attempts[:] = [_Attempt(os.getpid(), deadline, works)]
    return _attempts[-1]


def _is_hanging(attempt: _Attempt) -> bool:
    return any(work.is_going_on() for work in attempt.works)


def _flushes(providers: Iterable[Any]) -> list[Callable[[int], Any]]:
    if "opentelemetry.sdk" not in sys.modules:
        return []
    providers = [each for each in providers if not relay.needs_no_flush(each)]
    flushes = (getattr(provider, "force_flush", None) for provider in providers)
    return [act for act in flushes if callable(act)]
