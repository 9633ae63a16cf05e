"""Make `OTEL_PROPAGATORS` safe before `opentelemetry.propagate` reads it at its import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_queue_plugins.sdk.config.installed import entry_points_of

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from otel_queue_plugins.sdk.config.reader import Environment

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


# The user's value by the value that `guard` has replaced it with; `check` reports the user's.
_original: dict[str, str] = {}


def check(environment: Environment) -> None:
    """Report every propagator that no installed package has."""
    value = environment.value(_VARIABLE)
    value = _original.get(value, value)
    for name in _unknown(value):
        package = _PACKAGES.get(name)
        fix = f"pip install {package}" if package else "not installed or misspelt"
        environment.reject(_VARIABLE, f"{name}: {fix}; it is left out", value=value)


def guard(environ: MutableMapping[str, str]) -> None:
    """Remove unknown propagators from `environ`.

    If none remains, the default is set (tracecontext, baggage).
    """
    # With an unknown one `import opentelemetry.propagate` raises.
    names = _names(environ.get(_VARIABLE, ""))
    unknown = _unknown(environ.get(_VARIABLE, ""))
    if not unknown:
        return
    installed = ",".join(name for name in names if name not in unknown) or _DEFAULT
    _original[installed] = environ[_VARIABLE]
    environ[_VARIABLE] = installed


def _names(value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]


def _unknown(value: str) -> list[str]:
    names = [name for name in dict.fromkeys(_names(value)) if name.lower() != "none"]
    return [name for name in names if not entry_points_of(_GROUP, name=name)]
