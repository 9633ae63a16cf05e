"""Where a worker serves its metrics and its state over HTTP, if anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from otel_queue_plugins.core.settings import definitions
from otel_queue_plugins.core.settings.kinds import Address, HostPort
from otel_queue_plugins.sdk.config import scraping
from otel_queue_plugins.sdk.config.reader import Environment

if TYPE_CHECKING:
    from collections.abc import Mapping

# Of the specification, "Prometheus Exporter".
PROMETHEUS_HOST: Final = "OTEL_EXPORTER_PROMETHEUS_HOST"
PROMETHEUS_PORT: Final = "OTEL_EXPORTER_PROMETHEUS_PORT"
_DEFAULT_HOST, _DEFAULT_PORT = "localhost", "9464"


class Place(NamedTuple):
    """An address, and the variable that names it."""

    address: HostPort
    variable: str


def place(environ: Mapping[str, str]) -> Place | None:
    """Where a worker has to listen; None if nobody has asked for it, or the address is wrong.

    `OTEL_QUEUE_HTTP`, else the variables of OpenTelemetry's Prometheus exporter if that is asked
    for.
    """
    environment = Environment(environ)
    if environment.value(definitions.HTTP.variable):
        address = definitions.read(environment, definitions.HTTP)
        return None if address is None else Place(address, definitions.HTTP.variable)
    if is_prometheus(environment) and not _is_off(environment):
        address = read_prometheus(environment)
        return None if address is None else Place(address, PROMETHEUS_PORT)
    return None


def _is_off(environment: Environment) -> bool:
    is_disabled = environment.specified_flag("OTEL_SDK_DISABLED")
    return is_disabled or not definitions.read(environment, definitions.SETUP)


def is_served(environ: Mapping[str, str]) -> bool:
    """Whether this is a process of a worker that serves its metrics over HTTP."""
    return place(environ) is not None and scraping.is_worker()


def is_prometheus(environment: Environment) -> bool:
    """Whether `OTEL_METRICS_EXPORTER` names Prometheus."""
    names = environment.value("OTEL_METRICS_EXPORTER").split(",")
    return not scraping.SCRAPED.isdisjoint(name.strip() for name in names)


def read_prometheus(environment: Environment) -> HostPort | None:
    """The address that Prometheus's variables name; a wrong one is added to the problems."""
    host = environment.value(PROMETHEUS_HOST) or _DEFAULT_HOST
    port = environment.value(PROMETHEUS_PORT) or _DEFAULT_PORT
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    try:
        return Address().check(f"{shown}:{port}")
    except ValueError:
        variable = PROMETHEUS_PORT if environment.value(PROMETHEUS_PORT) else PROMETHEUS_HOST
        environment.reject(variable, "use a host name or address, and a port from 1 to 65535")
        return None
