"""What `OTEL_*` and `OTEL_QUEUE_*` ask for, read once into a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_queue_plugins.core.settings import definitions
from otel_queue_plugins.core.settings.problems import merged
from otel_queue_plugins.core.settings.variables import FLAGS
from otel_queue_plugins.sdk.config import propagators, samplers, targets, variable_names
from otel_queue_plugins.sdk.config.environment import SIGNALS, Reading
from otel_queue_plugins.sdk.config.limits import check_numbers
from otel_queue_plugins.sdk.export import scraping

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_queue_plugins.core.settings.problems import Problem

_PACKAGES = {
    "prometheus": "opentelemetry-exporter-prometheus",
    "zipkin": "opentelemetry-exporter-zipkin",
}
_OTLP_NAMES = {"otlp": "", "otlp_proto_http": targets.HTTP, "otlp_proto_grpc": targets.GRPC}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to set up. A signal that is off, or whose settings cannot be used, has no entry.

    An exporter is an OTLP `Target`, or the name of an installed exporter (`console`, ...).
    """

    exporters: Mapping[str, tuple[targets.Target | str, ...]]
    sampler: samplers.Choice | None
    problems: tuple[Problem, ...]


def read(environ: Mapping[str, str]) -> Plan:
    """What to set up, and what is wrong. Reads files and installed packages' entry points."""
    reading = Reading(environ)
    variable_names.check_ours(reading)
    for setting in definitions.WITHOUT_ARGUMENT:
        definitions.read(reading, setting)
    propagators.check(reading)
    if _is_off(reading):
        return Plan(exporters={}, sampler=None, problems=merged(reading.problems))
    asked = {signal: _exporters(reading, signal) for signal in SIGNALS}
    named = {signal: exporters for signal, exporters in asked.items() if exporters}
    sampler = samplers.read(reading) if "traces" in named else None
    check_numbers(reading, named)
    variable_names.check_look_alikes(reading)
    _check_config_file(reading)
    _check_grpc(reading, named)
    problems = merged(reading.problems)
    broken = {signal for each in problems if not each.is_warning for signal in each.signals}
    return Plan(
        exporters={key: value for key, value in named.items() if key not in broken},
        sampler=sampler,
        problems=problems,
    )


def is_off(environ: Mapping[str, str]) -> bool:
    """True when we must not set up anything: switched off, or somebody else's job."""
    return _is_off(Reading(environ))


def is_asked_for(environ: Mapping[str, str], signal: str) -> bool:
    """Whether anything is to be set up for `signal`. Reads nothing but the variables."""
    reading = Reading(environ)
    return not is_off(environ) and any(name != "none" for name in _exporter_names(reading, signal))


def is_relay_wanted(environ: Mapping[str, str]) -> bool:
    """Whether the processes of a worker may leave it to one of them to export."""
    return definitions.read(Reading(environ), definitions.RELAY)


def _is_off(reading: Reading) -> bool:
    is_disabled = reading.specified_flag("OTEL_SDK_DISABLED", signals=SIGNALS)
    return not definitions.read(reading, definitions.SETUP) or is_disabled


def flush_timeout(environ: Mapping[str, str]) -> float:
    """Seconds that an ending process may wait for its telemetry to get out."""
    return definitions.read(Reading(environ), definitions.FLUSH_TIMEOUT)


def _exporters(reading: Reading, signal: str) -> tuple[targets.Target | str, ...]:
    variable, names = _variable(signal), _exporter_names(reading, signal)
    names = scraping.without_scraped(reading, variable, names)
    if "none" in names and len(names) > 1:
        reading.reject(variable, "none cannot be combined with other exporters", signal)
    chosen = (_exporter(reading, signal, variable, name) for name in names if name != "none")
    return tuple(exporter for exporter in chosen if exporter is not None)


def _variable(signal: str) -> str:
    return f"OTEL_{signal.upper()}_EXPORTER"


def _exporter_names(reading: Reading, signal: str) -> tuple[str, ...]:
    return _listed(reading.value(_variable(signal))) or _default_exporters(reading, signal)


def _listed(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))


def _default_exporters(reading: Reading, signal: str) -> tuple[str, ...]:
    """Logs have to be asked for by their own variables: a general endpoint is not enough."""
    if signal == "logs":
        own_endpoint, _ = targets.names(signal, "ENDPOINT")
        return ("otlp",) if reading.value(own_endpoint) else ()
    return ("otlp",) if targets.is_named(reading, signal) else ()


def _exporter(
    reading: Reading, signal: str, variable: str, name: str
) -> targets.Target | str | None:
    if name in _OTLP_NAMES:
        if targets.is_silenced(reading, signal):
            return None
        return targets.read_target(reading, signal, _OTLP_NAMES[name])
    group, package = f"opentelemetry_{signal}_exporter", _PACKAGES.get(name, "")
    return name if reading.component(variable, group, name, signal, package=package) else None


def _check_config_file(reading: Reading) -> None:
    """A declarative configuration is set up by whoever understands it; we would contradict it."""
    if reading.value("OTEL_CONFIG_FILE"):
        reading.reject(
            "OTEL_CONFIG_FILE",
            "this file is not read here; start with opentelemetry-instrument, or unset it",
            *SIGNALS,
        )


def _check_grpc(reading: Reading, named: Mapping[str, tuple[targets.Target | str, ...]]) -> None:
    """With its fork handlers off, every child forked after gRPC's first use hangs or crashes."""
    variable = "GRPC_ENABLE_FORK_SUPPORT"
    if FLAGS.get(reading.value(variable).lower(), True):
        return
    over_grpc = [
        signal
        for signal, exporters in named.items()
        if any(
            isinstance(each, targets.Target) and each.protocol == targets.GRPC for each in exporters
        )
    ]
    if over_grpc:
        reading.reject(
            variable,
            "forked children would hang; "
            f"unset it, or use OTEL_EXPORTER_OTLP_PROTOCOL={targets.HTTP}",
            *over_grpc,
        )
