"""Report wrong settings at the start, before they fail later or go unnoticed."""

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
from otel_queue_plugins.sdk.global_providers import has_provider
from otel_queue_plugins.sdk.process import forks

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from otel_queue_plugins.core.settings.problems import Problem

__all__ = ["ConfigurationError", "report", "validate"]


def validate(environ: MutableMapping[str, str] = os.environ) -> None:
    """Check `OTEL_*` and `OTEL_QUEUE_*`.

    Each problem is logged once in a process: in one line at ERROR, and the signals it concerns stay
    off; or at WARNING, without effect, if the setting may be right. Unknown propagators are removed
    from `environ`, because the API cannot be imported with them.

    Args:
        environ: The environment variables.

    Raises:
        ConfigurationError: There is a problem, and `OTEL_QUEUE_STRICT` is on.
    """
    forks.register_hooks()
    problems = plan.read(environ, loads_file=is_strict(environ)).problems
    problems = tuple(each for each in problems if not each.signals or _is_ours_to_set(each.signals))
    if is_strict(environ):
        raise_first(problems)
    report(problems)
    propagators.guard(environ)


def _is_ours_to_set(signals: tuple[str, ...]) -> bool:
    """Whether one of `signals` has no provider yet: a problem of the others has no effect."""
    return not all(has_provider(signal) for signal in signals)


def about(signal: str, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """The problems that concern `signal`, or no signal in particular."""
    return tuple(each for each in problems if not each.signals or signal in each.signals)
