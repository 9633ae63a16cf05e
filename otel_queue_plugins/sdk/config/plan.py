"""Read `OTEL_*` and `OTEL_QUEUE_*` into a plan of what to set up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otel_queue_plugins.core.settings import definitions
from otel_queue_plugins.core.settings.problems import merged
from otel_queue_plugins.core.settings.variables import FLAGS
from otel_queue_plugins.sdk.config import (
    declarative,
    profiles,
    propagators,
    samplers,
    scraping,
    serving,
    targets,
    variable_names,
)
from otel_queue_plugins.sdk.config.limits import check_numbers
from otel_queue_plugins.sdk.config.reader import SIGNALS, Environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_queue_plugins.core.settings.problems import Problem

_PACKAGES = {
    "prometheus": "opentelemetry-exporter-prometheus",
    "zipkin": "opentelemetry-exporter-zipkin",
}
_OTLP_NAMES = {"otlp": "", "otlp_proto_http": targets.HTTP, "otlp_proto_grpc": targets.GRPC}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to set up. A signal that is off, or has a setting that cannot be used, has no entry.

    An exporter is an OTLP `Target`, or the name of an installed exporter (`console`, ...). Metrics
    have an entry without exporters where they are only served over HTTP (`is_served`).
    `declared` is what the SDK's loader made of `OTEL_CONFIG_FILE`, None without one: its exporters
    are named in words.
    """

    exporters: Mapping[str, tuple[targets.Target | str, ...]]
    sampler: samplers.Choice | None
    problems: tuple[Problem, ...]
    is_served: bool = False
    declared: Any = None


def read(environ: Mapping[str, str], *, loads_file: bool = True) -> Plan:
    """Read the plan, with all problems. Reads files and the entry points of installed packages.

    Without `loads_file` the SDK is not imported, and `OTEL_CONFIG_FILE` only looked for.
    """
    environment = Environment(environ)
    variable_names.check_ours(environment)
    for setting in definitions.WITHOUT_ARGUMENT:
        definitions.read(environment, setting)
    propagators.check(environment)
    if _is_off(environment):
        return Plan(exporters={}, sampler=None, problems=merged(environment.problems))
    if declarative.is_named(environ):
        return _of_file(environment, environ, loads_file=loads_file)
    asked = {signal: _exporters(environment, signal) for signal in SIGNALS}
    is_served = _is_served(environment, environ)
    named = {
        signal: exporters
        for signal, exporters in asked.items()
        if exporters or (is_served and signal == "metrics")
    }
    sampler = samplers.read(environment) if "traces" in named else None
    check_numbers(environment, named)
    variable_names.check_look_alikes(environment)
    _check_grpc(environment, _over_grpc(named))
    profiles.check(environment, named)
    problems = merged(environment.problems)
    return Plan(
        exporters=_without_broken(named, problems),
        sampler=sampler,
        problems=problems,
        is_served=is_served,
    )


def _of_file(environment: Environment, environ: Mapping[str, str], *, loads_file: bool) -> Plan:
    """The plan where `OTEL_CONFIG_FILE` is set; without a loader nothing is set up."""
    declared = None
    if declarative.check(environment) and loads_file:
        declared = declarative.load(environment)
    words = f"the exporters of {declarative.path(environ)}"
    named: dict[str, tuple[targets.Target | str, ...]]
    named = dict.fromkeys(declarative.sections(declared), (words,))
    is_served = serving.is_served(environ)
    if is_served:
        named.setdefault("metrics", ())
    if declarative.uses_grpc(environ):
        _check_grpc(environment, SIGNALS)
    variable_names.check_look_alikes(environment)
    problems = merged(environment.problems)
    return Plan(
        exporters=_without_broken(named, problems),
        sampler=None,
        problems=problems,
        is_served=is_served,
        declared=declared,
    )


def _without_broken(
    named: Mapping[str, tuple[targets.Target | str, ...]], problems: tuple[Problem, ...]
) -> dict[str, tuple[targets.Target | str, ...]]:
    broken = {signal for each in problems if not each.is_warning for signal in each.signals}
    return {key: value for key, value in named.items() if key not in broken}


def _is_served(environment: Environment, environ: Mapping[str, str]) -> bool:
    if serving.is_prometheus(environment) and not environment.value(definitions.HTTP.variable):
        serving.read_prometheus(environment)
    return serving.is_served(environ)


def is_off(environ: Mapping[str, str]) -> bool:
    """Whether nothing must be set up: `OTEL_QUEUE_SETUP=off` or `OTEL_SDK_DISABLED=true`."""
    return _is_off(Environment(environ))


def is_asked_for(environ: Mapping[str, str], signal: str) -> bool:
    """Whether the environment names an exporter for `signal`, or `OTEL_CONFIG_FILE` its section."""
    environment = Environment(environ)
    if is_off(environ):
        return False
    if signal == "metrics" and serving.is_served(environ):
        return True
    if declarative.is_named(environ):
        return declarative.may_have(environ, signal)
    return any(name != "none" for name in _exporter_names(environment, signal))


def is_relay_wanted(environ: Mapping[str, str]) -> bool:
    """Whether one process of a worker may export for the others, at least metrics."""
    return is_relay_on(environ) or serving.is_served(environ)


def is_relay_on(environ: Mapping[str, str]) -> bool:
    """Whether one process of a worker may export all signals for the others."""
    return definitions.read(Environment(environ), definitions.RELAY)


def _is_off(environment: Environment) -> bool:
    is_disabled = environment.specified_flag("OTEL_SDK_DISABLED", signals=SIGNALS)
    return not definitions.read(environment, definitions.SETUP) or is_disabled


def flush_timeout(environ: Mapping[str, str]) -> float:
    """Seconds that a process may wait at its end until its telemetry is exported."""
    return definitions.read(Environment(environ), definitions.FLUSH_TIMEOUT)


def _exporters(environment: Environment, signal: str) -> tuple[targets.Target | str, ...]:
    variable, names = _variable(signal), _exporter_names(environment, signal)
    names = scraping.remove_scraped(environment, variable, names)
    if "none" in names and len(names) > 1:
        environment.reject(variable, "none cannot be combined with other exporters", signal)
    chosen = (_exporter(environment, signal, variable, name) for name in names if name != "none")
    return tuple(exporter for exporter in chosen if exporter is not None)


def _variable(signal: str) -> str:
    return f"OTEL_{signal.upper()}_EXPORTER"


def _exporter_names(environment: Environment, signal: str) -> tuple[str, ...]:
    return _listed(environment.value(_variable(signal))) or _default_exporters(environment, signal)


def _listed(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))


def _default_exporters(environment: Environment, signal: str) -> tuple[str, ...]:
    """OTLP if an endpoint is named; for logs it must be their own endpoint."""
    if signal == "logs":
        own_endpoint, _ = targets.names(signal, "ENDPOINT")
        return ("otlp",) if environment.value(own_endpoint) else ()
    return ("otlp",) if targets.is_named(environment, signal) else ()


def _exporter(
    environment: Environment, signal: str, variable: str, name: str
) -> targets.Target | str | None:
    if name in _OTLP_NAMES:
        if targets.is_silenced(environment, signal):
            return None
        return targets.read_target(environment, signal, _OTLP_NAMES[name])
    group, package = f"opentelemetry_{signal}_exporter", _PACKAGES.get(name, "")
    return name if environment.component(variable, group, name, signal, package=package) else None


def _over_grpc(named: Mapping[str, tuple[targets.Target | str, ...]]) -> list[str]:
    return [
        signal
        for signal, exporters in named.items()
        if any(
            isinstance(each, targets.Target) and each.protocol == targets.GRPC for each in exporters
        )
    ]


def _check_grpc(environment: Environment, over_grpc: Sequence[str]) -> None:
    """Reject gRPC without its fork handlers: a child that is forked later hangs or crashes."""
    variable = "GRPC_ENABLE_FORK_SUPPORT"
    if over_grpc and not FLAGS.get(environment.value(variable).lower(), True):
        environment.reject(
            variable,
            "forked children would hang; "
            f"unset it, or use OTEL_EXPORTER_OTLP_PROTOCOL={targets.HTTP}",
            *over_grpc,
        )
