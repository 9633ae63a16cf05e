"""Find misspelt names of variables, and suggest the nearest that exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_queue_plugins.core import options
from otel_queue_plugins.core.settings import definitions
from otel_queue_plugins.core.settings.problems import nearest
from otel_queue_plugins.sdk.config import specified
from otel_queue_plugins.sdk.config.reader import SIGNALS

if TYPE_CHECKING:
    from otel_queue_plugins.sdk.config.reader import Environment

_PREFIX: Final = "OTEL_QUEUE_"
SETTINGS: Final = (*options.SETTINGS.values(), *definitions.WITHOUT_ARGUMENT)
OURS: Final = tuple(each.variable for each in SETTINGS if each.variable.startswith(_PREFIX))
"""All variables of this package."""

# One letter in eight may be wrong. The variables of other exporters are less like OTLP's.
_LEAST_SIMILARITY: Final = 0.88


def check_ours(environment: Environment) -> None:
    """Report each `OTEL_QUEUE_*` that does not exist, without its value: it may be a secret."""
    for name in environment.names():
        if name.startswith(_PREFIX) and name not in OURS:
            suffixes = {each.removeprefix(_PREFIX): each for each in OURS}
            near = suffixes.get(nearest(name.removeprefix(_PREFIX), suffixes))
            hint = f"; did you mean {near}?" if near else f"; there are {', '.join(OURS)}"
            environment.reject(name, f"there is no such variable{hint}", value="")


def check_look_alikes(environment: Environment) -> None:
    """Warn of each `OTEL_*` that is not specified, and almost equal to one that is."""
    for name in environment.names():
        if not name.startswith("OTEL_") or name.startswith(_PREFIX) or name in specified.NAMES:
            continue
        near = _completed(name) or nearest(name, (*specified.NAMES, *OURS), _LEAST_SIMILARITY)
        if near:
            advice = f"OpenTelemetry knows no such variable; did you mean {near}?"
            environment.warn(name, advice, *SIGNALS, value="")


def _completed(name: str) -> str:
    """The OTLP variable that begins with `name`, "" if there is none."""
    is_otlp = name.startswith(specified.OTLP)
    return next((each for each in specified.NAMES if is_otlp and each.startswith(name)), "")
