"""Log in one line which signals are exported, and where to."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

from otel_queue_plugins.core.safety import never_raises
from otel_queue_plugins.core.settings.problems import without_secrets
from otel_queue_plugins.sdk import global_providers
from otel_queue_plugins.sdk.config.reader import SIGNALS
from otel_queue_plugins.sdk.config.targets import Target
from otel_queue_plugins.sdk.process import fork_repair
from otel_queue_plugins.sdk.shared_memory import Claim

if TYPE_CHECKING:
    from otel_queue_plugins.sdk.config.plan import Plan

_APPLICATION: Final = "the application's own provider"
_UNKNOWN: Final = "unknown_service"

_log = logging.getLogger("otel_queue_plugins")
_announced: Final = Claim()


class _Process:
    """The pid of the last process that has logged its line."""

    __slots__ = ("pid",)

    def __init__(self) -> None:
        self.pid = 0


_logged: Final = _Process()


def log_once(plan: Plan | None) -> None:
    """Log the line once in a process; nothing while no signal is exported. Never raises.

    The level is INFO in the first process of those that were forked from each other, and DEBUG in
    the others: a worker may start a hundred pool processes.
    """
    if _logged.pid == os.getpid():
        return
    if line := _line(plan):
        _logged.pid = os.getpid()
        _log.log(logging.INFO if _announced.is_mine() else logging.DEBUG, "%s", line)


@never_raises(str)
def _line(plan: Plan | None) -> str:
    destinations: dict[str, list[str]] = {}
    for signal in SIGNALS:
        for each in _destinations(signal, plan):
            destinations.setdefault(each, []).append(signal)
    if not destinations:
        return ""
    parts = [f"{' and '.join(signals)} to {each}" for each, signals in destinations.items()]
    named = {signal for signals in destinations.values() for signal in signals}
    off = [signal for signal in SIGNALS if signal not in named]
    parts += [f"{' and '.join(off)} off"] * bool(off)
    return f"telemetry is on: {'; '.join(parts)}{_service(plan)}"


def _destinations(signal: str, plan: Plan | None) -> list[str]:
    """The destinations of `signal` in words; empty where it is off."""
    if global_providers.has_provider(signal) and not global_providers.is_own(signal):
        return [_APPLICATION]
    exporters = plan.exporters.get(signal, ()) if plan else ()
    return [_destination(signal, each) for each in exporters]


def _destination(signal: str, exporter: Target | str) -> str:
    if not isinstance(exporter, Target):
        return exporter
    endpoint = exporter.endpoint.removesuffix(f"/v1/{signal}")
    return f"{without_secrets(endpoint)} ({exporter.protocol})"


def endpoint(plan: Plan | None) -> str | None:
    """The first OTLP endpoint that the plan has for a signal of ours; None if there is none."""
    for signal in SIGNALS:
        if global_providers.is_own(signal) and plan is not None:
            for each in plan.exporters.get(signal, ()):
                if isinstance(each, Target):
                    return without_secrets(each.endpoint.removesuffix(f"/v1/{signal}"))
    return None


def _service(plan: Plan | None) -> str:
    for provider in global_providers.OWN.values():
        attributes = getattr(fork_repair.resource_of(provider), "attributes", {})
        name = str(attributes.get("service.name", _UNKNOWN))
        unset = "OTEL_SERVICE_NAME is not set"
        if plan is not None and plan.declared is not None:
            unset = "the file has no service.name"
        hint = f" ({unset})" if name.startswith(_UNKNOWN) else ""
        return f"; service {name}{hint}"
    return ""
