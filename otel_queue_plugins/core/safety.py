"""Nothing of ours raises into a producer or a worker."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

LOG_INTERVAL_SECONDS: Final = 60.0

_log = logging.getLogger("otel_queue_plugins")
_last_logged: dict[str, float] = {}


def never_raises(fallback: Callable[[], _T]) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Decorate a function: it logs an Exception and returns `fallback()` instead of raising.

    A BaseException (an interrupt, an exit) is the framework's and passes.
    """

    def wrap(function: Callable[_P, _T]) -> Callable[_P, _T]:
        @functools.wraps(function)
        def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            try:
                return function(*args, **kwargs)
            except Exception:  # noqa: BLE001 - the rule of this module
                log_failure(function.__qualname__)
                return fallback()

        return guarded

    return wrap


def do_nothing() -> None:
    """The fallback of functions without a result."""


def log_failure(where: str) -> None:
    """Log the exception that is being handled, at most once a minute for each `where`.

    The warning has no value of the exception in it; the traceback is logged at DEBUG.
    """
    now = time.monotonic()
    if now - _last_logged.get(where, -LOG_INTERVAL_SECONDS) < LOG_INTERVAL_SECONDS:
        return
    _last_logged[where] = now
    _log.warning(
        "otel_queue_plugins: %s failed; the task is not affected, its telemetry is. "
        "Set this logger to DEBUG for the traceback.",
        where,
    )
    _log.debug("The failure of %s:", where, exc_info=True)
