"""`OTEL_PROPAGATORS`, made safe before `opentelemetry.propagate` reads it at its import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_queue_plugins.sdk.config.installed import entry_points_of

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from otel_queue_plugins.sdk.config.environment import Reading

_VARIABLE = "OTEL_PROPAGATORS"
_DEFAULT = "tracecontext,baggage"
_GROUP = "opentelemetry_propagator"
_PACKAGES = {
    "b3": "opentelemetry-propagator-b3",
    "b3multi": "opentelemetry-propagator-b3",
    "jaeger": "opentelemetry-propagator-jaeger",
    "ottrace": "opentelemetry-propagator-ot-trace",
    "xray": "opentelemetry-propagator-aws-xray",
}


# What `guard` made of a value, and that value: `check` speaks about the latter.
_given: dict[str, str] = {}


def check(reading: Reading) -> None:
    """Reject every name that no installed package knows."""
    value = reading.value(_VARIABLE)
    value = _given.get(value, value)
    for name in _unknown(value):
        package = _PACKAGES.get(name)
        fix = f"pip install {package}" if package else "not installed or misspelt"
        reading.reject(_VARIABLE, f"{name}: {fix}; it is left out", value=value)


def guard(environ: MutableMapping[str, str]) -> None:
    """Leave out unknown names: with one of them `import opentelemetry.propagate` raises.

    What remains is used; when nothing does, the default (tracecontext, baggage).
    """
    names = _names(environ.get(_VARIABLE, ""))
    unknown = _unknown(environ.get(_VARIABLE, ""))
    if not unknown:
        return
    known = ",".join(name for name in names if name not in unknown) or _DEFAULT
    _given[known] = environ[_VARIABLE]
    environ[_VARIABLE] = known


def _names(value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]


def _unknown(value: str) -> list[str]:
    names = [name for name in dict.fromkeys(_names(value)) if name.lower() != "none"]
    return [name for name in names if not entry_points_of(_GROUP, name=name)]
