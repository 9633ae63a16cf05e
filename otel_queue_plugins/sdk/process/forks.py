"""What must happen around a fork, so that the child can export and counts from zero.

The SDK restarts its threads in a child, but leaves it the parent's connections, the metric
readers' locks and the numbers counted so far. A child forked while its parent exports would
hang at its first collection, and every child would report the parent's counts again.
"""

from __future__ import annotations

import logging
import os
import sys
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from otel_queue_plugins.sdk import relay
from otel_queue_plugins.sdk.export import export_calls
from otel_queue_plugins.sdk.process import exit_handlers, fork_grpc
from otel_queue_plugins.sdk.providers import instance_id
from otel_queue_plugins.sdk.providers.global_providers import (
    lock_of_this_process,
    reachable_providers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("otel_queue_plugins")

_LONGEST_SET_UP = 2.0
# What uWSGI forks says so in one of these.
_PROCESSES_OF_UWSGI = ("worker_id", "mule_id", "i_am_the_spooler")
_adopted: list[object] = []
_acts: list[Callable[[], None]] = []


@cache
def watch() -> None:
    """From now on make every child of this process, and theirs, whole. Once is enough."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_quietly(_before),
            after_in_parent=_quietly(fork_grpc.resume),
            after_in_child=_note_fork,
        )


def runs_hooks() -> bool:
    """Whether a fork of this process does what Python has registered for it.

    uWSGI forks in C and does not, unless `py-call-uwsgi-fork-hooks` is set. What the process that
    loads the application for its workers had built would be broken in them: without its threads,
    and under one instance id.
    """
    server = sys.modules.get("uwsgi")
    if server is None or "py-call-uwsgi-fork-hooks" in getattr(server, "opt", ()):
        return True
    ids = (getattr(server, name, lambda: 0) for name in _PROCESSES_OF_UWSGI)
    return any(number() for number in ids)


def when_forked(act: Callable[[], None]) -> None:
    """Call `act` in every child from now on, right after the fork. Doing it twice does nothing."""
    if act not in _acts:
        _acts.append(act)


def _note_fork() -> None:
    instance_id.note_fork()
    fork_grpc.forget()
    export_calls.forget()
    for act in _acts:
        _quietly(act)()


def _before() -> None:
    _finish_set_up()
    exit_handlers.prepare_children()
    if "opentelemetry.sdk.resources" not in sys.modules:
        return
    from otel_queue_plugins.sdk.process import fork_repair

    _finish_imports()
    for provider in reachable_providers():
        if getattr(provider, "is_relayed", False):
            continue  # it has no connection, and no thread
        if callable(getattr(provider, "shutdown", None)) and not _is_adopted(provider):
            _adopt(provider)
    fork_repair.keep_grpc_from_closing((*_adopted, *relay.exporting()))
    fork_grpc.pause()


def _is_adopted(provider: object) -> bool:
    return any(provider is known for known in _adopted)


def _finish_imports() -> None:
    """What a first request imports. A child forked in the middle of an import cannot finish it."""
    if "requests" in sys.modules:
        import_module("encodings.idna")
        import_module("netrc")


def _finish_set_up() -> None:
    lock = lock_of_this_process()
    if lock.acquire(timeout=_LONGEST_SET_UP):
        lock.release()


def _adopt(provider: object) -> None:
    """Register what the child of `provider`'s process does.

    Hooks run in the order of their registration. This one has to come after the provider's own,
    which gives the child a new resource, so it cannot be registered any earlier.
    """
    from otel_queue_plugins.sdk.process import fork_repair

    _adopted.append(provider)
    given = instance_id.given_by_user(getattr(fork_repair.resource_of(provider), "attributes", {}))
    os.register_at_fork(after_in_child=_quietly(lambda: fork_repair.make_whole(provider, given)))


def _quietly(act: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        try:
            act()
        except Exception:
            logger.debug("a fork was not prepared in full", exc_info=True)

    return run
