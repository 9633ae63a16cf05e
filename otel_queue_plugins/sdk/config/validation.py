"""Say at start-up what would fail later, or worse, go unnoticed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from otel_queue_plugins.core.settings.definitions import is_strict
from otel_queue_plugins.core.settings.problems import (
    ConfigurationError,
    raise_first,
    report,
)
from otel_queue_plugins.sdk.config import plan, propagators
from otel_queue_plugins.sdk.process import forks
from otel_queue_plugins.sdk.providers.global_providers import has_provider

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from otel_queue_plugins.core.settings.problems import Problem

__all__ = ["ConfigurationError", "report", "validate"]


def validate(environ: MutableMapping[str, str] = os.environ) -> None:
    """Check `OTEL_*` and `OTEL_QUEUE_*`.

    With `OTEL_QUEUE_STRICT=true` the first problem raises `ConfigurationError`. Otherwise each
    is one ERROR log line, said once per process, and the signal it concerns stays off; what may be
    right is a WARNING line, and has no effect. Unknown propagators are taken out of `environ`,
    because the API cannot be imported with them.
    """
    forks.watch()
    problems = plan.read(environ).problems
    problems = tuple(each for each in problems if not each.signals or _is_ours_to_set(each.signals))
    if is_strict(environ):
        raise_first(problems)
    report(problems)
    propagators.guard(environ)


def _is_ours_to_set(signals: tuple[str, ...]) -> bool:
    """Who has set a provider answers for its signal."""
    return not all(has_provider(signal) for signal in signals)


def about(signal: str, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """Those that concern `signal`, or everybody."""
    return tuple(each for each in problems if not each.signals or signal in each.signals)
