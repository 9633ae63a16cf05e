"""Hooks around a fork, so that the child can export and counts from zero.

The SDK restarts its threads in a child, but leaves it the parent's connections, the locks of the
metric readers and the numbers counted so far. A child that is forked during an export would hang at
its first collection, and every child would report the parent's numbers again.
"""

from __future__ import annotations

import logging
import os
import sys
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from otel_queue_plugins.sdk import instance_id, relay
from otel_queue_plugins.sdk.diagnosis import export_calls
from otel_queue_plugins.sdk.global_providers import (
    lock_of_this_process,
    reachable_providers,
)
from otel_queue_plugins.sdk.process import exit_handlers, fork_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("otel_queue_plugins")

_SECONDS_FOR_SET_UP = 2.0
# A process forked by uWSGI has a number from one of these functions.
_PROCESSES_OF_UWSGI = ("worker_id", "mule_id", "i_am_the_spooler")
_watched: list[object] = []
_child_hooks: list[Callable[[], None]] = []
_exporting: list[object] = []


@cache
def register_hooks() -> None:
    """Register the hooks for this process and all it forks. A second call has no effect."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_without_errors(_before),
            after_in_parent=_without_errors(fork_grpc.resume),
            after_in_child=_after_in_child,
        )


def runs_hooks() -> bool:
    """Whether a fork of this process runs the hooks that are registered with Python.

    uWSGI forks in C and runs none, unless `py-call-uwsgi-fork-hooks` is set. Providers built in the
    process that loads the application would have no threads in its workers, and one instance id.
    """
    server = sys.modules.get("uwsgi")
    if server is None or "py-call-uwsgi-fork-hooks" in getattr(server, "opt", ()):
        return True
    ids = (getattr(server, name, lambda: 0) for name in _PROCESSES_OF_UWSGI)
    return any(number() for number in ids)


def call_in_child(act: Callable[[], None]) -> None:
    """Call `act` in every child from now on, right after the fork. A second call has no effect."""
    if act not in _child_hooks:
        _child_hooks.append(act)


def keep_exporting(provider: object) -> None:
    """Keep the connections of a provider that no child uses: a child must not close them."""
    _exporting.append(provider)


def _after_in_child() -> None:
    instance_id.mark_forked()
    fork_grpc.forget()
    export_calls.forget()
    for act in _child_hooks:
        _without_errors(act)()


def _before() -> None:
    _finish_set_up()
    exit_handlers.prepare_children()
    if "opentelemetry.sdk.resources" not in sys.modules:
        return
    from otel_queue_plugins.sdk.process import fork_repair

    _finish_imports()
    for provider in reachable_providers():
        if getattr(provider, "is_relayed", False):
            continue  # it has neither a connection nor a thread
        if callable(getattr(provider, "shutdown", None)) and not _is_watched(provider):
            _watch(provider)
    fork_repair.keep_grpc_from_closing((*_watched, *_exporting, *relay.exporting()))
    fork_grpc.pause()


def _is_watched(provider: object) -> bool:
    return any(provider is each for each in _watched)


def _finish_imports() -> None:
    """Import what a first request imports: a fork in the middle would leave it unfinished."""
    if "requests" in sys.modules:
        import_module("encodings.idna")
        import_module("netrc")


def _finish_set_up() -> None:
    lock = lock_of_this_process()
    if lock.acquire(timeout=_SECONDS_FOR_SET_UP):
        lock.release()


def _watch(provider: object) -> None:
    """Register the repair of `provider` in each child."""
    # Hooks run in the order of their registration. This one must come after the provider's own
    # hook, which gives the child a new resource.
    from otel_queue_plugins.sdk.process import fork_repair

    _watched.append(provider)
    given = instance_id.given_by_user(getattr(fork_repair.resource_of(provider), "attributes", {}))
    os.register_at_fork(after_in_child=_without_errors(lambda: fork_repair.repair(provider, given)))


def _without_errors(act: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        try:
            act()
        except Exception:
            logger.debug("a fork was not prepared in full", exc_info=True)

    return run
