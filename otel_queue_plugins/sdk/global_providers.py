"""The global providers of the API, and which of them were set up here."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.sdk.config.installed import import_or_none
from otel_queue_plugins.sdk.config.reader import SIGNALS

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN: Final[dict[str, Any]] = {}
"""The providers that were set up here, by signal; a forked child has those of its parent."""

_ACCESS: Final = {
    "traces": ("opentelemetry.trace", "tracer_provider"),
    "metrics": ("opentelemetry.metrics", "meter_provider"),
    "logs": ("opentelemetry._logs", "logger_provider"),
}
# By pid, so that no child uses a lock that its parent held at the fork. Made at first use, so that
# it is gevent's lock where gevent has replaced threading.
_locks: dict[int, threading.RLock] = {}


def lock_of_this_process() -> threading.RLock:
    """The lock of this process to hold during the set-up of providers."""
    return _locks.setdefault(os.getpid(), threading.RLock())


def current_provider(signal: str) -> Any:
    """The global provider of `signal`, which is a proxy of the API if nobody has set one.

    None if this version of the API does not have the signal.
    """
    name, function = _ACCESS[signal]
    get = getattr(import_or_none(name), f"get_{function}", None)
    return None if get is None else get()


def has_provider(signal: str) -> bool:
    """Whether somebody has set a global provider for `signal`."""
    provider = current_provider(signal)
    return provider is not None and "Proxy" not in type(provider).__name__


def has_providers() -> bool:
    """Whether somebody has set a global tracer, meter or logger provider."""
    return any(has_provider(signal) for signal in SIGNALS)


def is_own(signal: str) -> bool:
    """Whether the global provider of `signal` was set up here."""
    return signal in OWN and current_provider(signal) is OWN[signal]


def reachable_providers() -> Iterator[Any]:
    """The global providers, and those set up here, which some tracers may still use."""
    found: list[Any] = []
    for provider in (*map(current_provider, SIGNALS), *OWN.values()):
        if provider is not None and not any(provider is each for each in found):
            found.append(provider)
            yield provider


def set_global(signal: str, provider: Any) -> None:
    """Set the global provider of `signal`, which must have none."""
    name, function = _ACCESS[signal]
    getattr(import_or_none(name), f"set_{function}")(provider)
