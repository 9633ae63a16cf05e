"""Read and build the sampler that `OTEL_TRACES_SAMPLER` names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_queue_plugins.core.settings.problems import Problem
from otel_queue_plugins.sdk.config.installed import entry_points_of
from otel_queue_plugins.sdk.sampling import rules

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.sampling import Sampler

    from otel_queue_plugins.sdk.config.reader import Environment

_VARIABLE = "OTEL_TRACES_SAMPLER"
_ARGUMENT = "OTEL_TRACES_SAMPLER_ARG"
_GROUP = "opentelemetry_traces_sampler"
_OURS = "taskqueue"
_RATIOS = ("traceidratio", "parentbased_traceidratio")
_BUILT_IN = (
    "always_on",
    "always_off",
    "parentbased_always_on",
    "parentbased_always_off",
    *_RATIOS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The name of a sampler, with its argument as written ("" when unset)."""

    name: str
    argument: str


def read(environment: Environment) -> Choice | None:
    """Read the sampler; None when unset or unknown."""
    name = environment.value(_VARIABLE)
    if name.lower() in _BUILT_IN:
        name = name.lower()
    elif not name or not environment.component(_VARIABLE, _GROUP, name, "traces"):
        return None
    if name in _RATIOS:
        _check_ratio(environment)
    if name == _OURS and (problem := problem_of_rules(environment.value(_ARGUMENT))):
        environment.problems.append(problem)
    return Choice(name=name, argument=environment.value(_ARGUMENT))


def _check_ratio(environment: Environment) -> None:
    ratio = environment.number(_ARGUMENT, "traces", whole=False)
    if ratio is not None and ratio > 1:
        environment.reject(_ARGUMENT, "use a ratio from 0 to 1", "traces")


def problem_of_rules(text: str) -> Problem | None:
    """What is wrong with the rules of our own sampler; the default one takes its place then."""
    try:
        rules.parse(text)
    except ValueError as error:
        fix = f"{error}; all traces are kept until this is right"
        return Problem(variable=_ARGUMENT, value="", fix=fix)
    return None


def build(choice: Choice) -> Sampler:
    """Build the sampler. Raises whatever the factory of an installed sampler raises."""
    from opentelemetry.sdk.trace.sampling import (
        ALWAYS_OFF,
        ALWAYS_ON,
        DEFAULT_OFF,
        DEFAULT_ON,
        ParentBased,
        Sampler,
        TraceIdRatioBased,
    )

    fixed = {
        "always_on": ALWAYS_ON,
        "always_off": ALWAYS_OFF,
        "parentbased_always_on": DEFAULT_ON,
        "parentbased_always_off": DEFAULT_OFF,
    }
    if choice.name in fixed:
        return fixed[choice.name]
    if choice.name in _RATIOS:
        ratio = TraceIdRatioBased(float(choice.argument or 1))
        return ratio if choice.name == "traceidratio" else ParentBased(ratio)
    (point,) = tuple(entry_points_of(_GROUP, name=choice.name))[:1]
    sampler = point.load()(choice.argument or None)
    if not isinstance(sampler, Sampler):
        message = f"{_VARIABLE}: {choice.name} made a {type(sampler).__name__}, not a Sampler"
        raise TypeError(message)
    return sampler
