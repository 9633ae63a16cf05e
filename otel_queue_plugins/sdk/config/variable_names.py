"""Names of variables: those that nobody reads, and the ones that were probably meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_queue_plugins.core import options
from otel_queue_plugins.core.settings import definitions
from otel_queue_plugins.core.settings.problems import nearest
from otel_queue_plugins.sdk.config import specified
from otel_queue_plugins.sdk.config.environment import SIGNALS

if TYPE_CHECKING:
    from otel_queue_plugins.sdk.config.environment import Reading

_PREFIX: Final = "OTEL_QUEUE_"
SETTINGS: Final = (*options.SETTINGS.values(), *definitions.WITHOUT_ARGUMENT)
OURS: Final = tuple(each.variable for each in SETTINGS if each.variable.startswith(_PREFIX))
"""All variables of this package."""

# One letter in eight may be wrong. The variables of other exporters are less like OTLP's.
_ALIKE: Final = 0.88


def check_ours(reading: Reading) -> None:
    """Reject each `OTEL_QUEUE_*` that does not exist, without its value: that may be anything."""
    for name in reading.names():
        if name.startswith(_PREFIX) and name not in OURS:
            ends = {each.removeprefix(_PREFIX): each for each in OURS}
            near = ends.get(nearest(name.removeprefix(_PREFIX), ends))
            hint = f"; did you mean {near}?" if near else f"; there are {', '.join(OURS)}"
            reading.reject(name, f"there is no such variable{hint}", value="")


def check_look_alikes(reading: Reading) -> None:
    """Doubt each `OTEL_*` that nobody knows and that is almost one that exists."""
    for name in reading.names():
        if not name.startswith("OTEL_") or name.startswith(_PREFIX) or name in specified.NAMES:
            continue
        near = _begun(name) or nearest(name, (*specified.NAMES, *OURS), _ALIKE)
        if near:
            advice = f"OpenTelemetry knows no such variable; did you mean {near}?"
            reading.warn(name, advice, *SIGNALS, value="")


def _begun(name: str) -> str:
    """The OTLP variable of which `name` is the beginning, "" if there is none."""
    is_otlp = name.startswith(specified.OTLP)
    return next((each for each in specified.NAMES if is_otlp and each.startswith(name)), "")
