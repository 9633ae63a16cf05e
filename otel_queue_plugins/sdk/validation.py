"""Say at start-up what would fail later, or worse, go unnoticed."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from otel_queue_plugins.sdk import environment, forks, propagators
from otel_queue_plugins.sdk.current import has_provider

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from otel_queue_plugins.sdk.reading import Problem

logger = logging.getLogger("otel_queue_plugins")
_said: set[str] = set()


class ConfigurationError(ValueError):
    """A setting in the environment is dangerous or impossible. One line: variable, value, fix."""


def validate(environ: MutableMapping[str, str] = os.environ) -> None:
    """Check `OTEL_*` and `OTEL_QUEUE_*`.

    With `OTEL_QUEUE_STRICT=true` the first problem raises `ConfigurationError`. Otherwise each
    is one ERROR log line, said once per process, and the signal it concerns stays off; what may be
    right is a WARNING line, and has no effect. Unknown propagators are taken out of `environ`,
    because the API cannot be imported with them.
    """
    forks.watch()
    problems = environment.read(environ).problems
    problems = tuple(each for each in problems if not each.signals or _is_ours_to_set(each.signals))
    wrong = [problem for problem in problems if not problem.is_doubt]
    if wrong and environment.is_strict(environ):
        raise ConfigurationError(str(wrong[0]))
    report(problems)
    propagators.guard(environ)


def _is_ours_to_set(signals: tuple[str, ...]) -> bool:
    """Who has set a provider answers for its signal."""
    return not all(has_provider(signal) for signal in signals)


def about(signal: str, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """Those that concern `signal`, or everybody."""
    return tuple(each for each in problems if not each.signals or signal in each.signals)


def report(problems: tuple[Problem, ...]) -> None:
    """One ERROR line for each problem not yet said in this process, WARNING for a doubt."""
    for problem in problems:
        line = f"{problem}{_effect(problem)}"
        if line not in _said:
            _said.add(line)
            logger.log(logging.WARNING if problem.is_doubt else logging.ERROR, "%s", line)


def _effect(problem: Problem) -> str:
    if problem.is_doubt or not problem.signals:
        return ""
    return f" ({', '.join(problem.signals)} off)"
