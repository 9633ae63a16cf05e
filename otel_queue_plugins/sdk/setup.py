"""Providers when they are needed: found, or built once in a process from the environment."""

from __future__ import annotations

import atexit
import logging
import os
from importlib import import_module
from typing import TYPE_CHECKING

from otel_queue_plugins.sdk import (
    background,
    environment,
    flushing,
    forks,
    green,
    identity,
    validation,
)
from otel_queue_plugins.sdk.current import current_providers, has_providers
from otel_queue_plugins.sdk.locking import lock_of_this_process

if TYPE_CHECKING:
    from collections.abc import MutableMapping

logger = logging.getLogger("otel_queue_plugins")


class _Done:
    """The pids of the process that began set-up last, and of the one that finished it."""

    __slots__ = ("begun_in", "installed", "ready_in")

    def __init__(self) -> None:
        self.begun_in = self.ready_in = 0
        self.installed = False


_done = _Done()


def ensure_providers() -> None:
    """Have providers in this process, from now on; does nothing after the first call in it.

    If nobody has set global providers and `OTEL_*` names an endpoint or an exporter, they are
    built and set. If nothing is named, nothing happens. Never raises.
    """
    if _done.ready_in != os.getpid():
        _prepare(os.getpid())


def _prepare(pid: int) -> None:
    with lock_of_this_process():
        if _done.begun_in == pid:
            return
        _done.begun_in = pid
        try:
            _set_up(os.environ)
            _flush_at_end()
        except Exception:
            logger.exception("telemetry could not be set up; the application runs without it")
        finally:
            _done.ready_in = pid


def _set_up(environ: MutableMapping[str, str]) -> None:
    forks.watch()
    if has_providers() and not _done.installed:
        green.warn_of_grpc(current_providers())
    if environment.is_off(environ) or has_providers():
        return
    plan = environment.read(environ)
    validation.report(plan.problems)
    if not plan.exporters:
        return
    _forget_empty(environ)
    from otel_queue_plugins.sdk import providers

    providers.install(plan)
    _done.installed = True


def _flush_at_end() -> None:
    """Flush when the interpreter ends, or the child of multiprocessing.

    Such a child runs no atexit handlers before Python 3.13. Elsewhere a user's own providers
    have an ending of their own.
    """
    if _done.installed:
        background.prepare_for_the_end()
        atexit.unregister(flushing.flush)
        atexit.register(flushing.flush)
    if identity.has_parent() and has_providers():
        import_module("multiprocessing.util").Finalize(None, flushing.flush, exitpriority=0)


def _forget_empty(environ: MutableMapping[str, str]) -> None:
    """Empty means unset, but the SDK fails on `OTEL_METRICS_EXEMPLAR_FILTER=""` and others.

    An empty endpoint of a signal stays: it says "off", also to processes started from here.
    """
    for name in [name for name in environ if name.startswith("OTEL_")]:
        if not environ[name].strip() and not name.endswith(("S_ENDPOINT",)):
            del environ[name]
