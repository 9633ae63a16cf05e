"""Who exports what: the providers, the service, the sampler."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from otel_queue_plugins.cli.doctor.checks import problems
from otel_queue_plugins.cli.doctor.findings import Finding, broken, fine, unknown
from otel_queue_plugins.core.settings.definitions import SETUP, read
from otel_queue_plugins.core.settings.variables import Variables
from otel_queue_plugins.sdk import global_providers
from otel_queue_plugins.sdk.config import declarative, trace_urls
from otel_queue_plugins.sdk.config.reader import SIGNALS
from otel_queue_plugins.sdk.config.targets import names

if TYPE_CHECKING:
    from otel_queue_plugins.cli.doctor.case import Case

_DISABLED: Final = "OTEL_SDK_DISABLED"
_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318"
_NEVER: Final = ("always_off", "parentbased_always_off")


def providers(case: Case) -> Iterator[Finding]:
    """For each signal: the application's provider, or one of this package, or none."""
    found = {signal: _provider(case, signal) for signal in SIGNALS}
    has_any = any(found.values())
    for signal in SIGNALS:
        if finding := found[signal]:
            yield finding
        elif has_any or signal == "logs":
            yield fine(f"{signal}: off; {_why_off(case, signal)}")
        elif signal == "traces":
            yield _nothing(case)


def _provider(case: Case, signal: str) -> Finding | None:
    """Who sets the provider; None if nobody does."""
    if case.is_of_application(signal):
        kind = type(global_providers.current_provider(signal))
        return fine(f"{signal}: the application's own, {kind.__module__}.{kind.__qualname__}")
    if signal not in case.plan.exporters:
        return None
    exporters = case.plan.exporters[signal]
    kinds = [each if isinstance(each, str) else "otlp" for each in exporters]
    served = ["served over HTTP by the worker"] * (signal == "metrics" and case.plan.is_served)
    return fine(f"{signal}: set up by this package, {', '.join(kinds + served)}")


def _why_off(case: Case, signal: str) -> str:
    if any(signal in each.signals and not each.is_warning for each in case.problems):
        return "a setting cannot be used"
    if case.plan.declared is not None:
        return f"{declarative.VARIABLE} has no {declarative.SECTIONS[signal]}"
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    if case.value(variable):
        return f"{variable}={case.value(variable)}"
    return f"nothing names an exporter ({variable}, {names(signal, 'ENDPOINT')[0]})"


def _nothing(case: Case) -> Finding:
    if case.value(_DISABLED).lower() == "true":
        return broken(f"{_DISABLED}=true: nothing is recorded", f"unset {_DISABLED}")
    if not read(Variables(case.environ), SETUP):
        return broken(
            f"{SETUP.variable}=off, and the application has set no provider",
            f"unset {SETUP.variable}, or set a provider in the app",
        )
    refused = [each for each in case.problems if each.signals and not each.is_warning]
    if refused:
        return broken("nothing is exported: a setting cannot be used", problems.fix(refused[0]))
    return broken("nothing is exported: no endpoint is named", _ENDPOINT)


def service(case: Case) -> Iterator[Finding]:
    """It has a name to search for."""
    if not any(case.plan.exporters.values()):
        return
    if case.plan.declared is not None:
        yield unknown(f"service.name is that of {declarative.VARIABLE}")
        return
    name = trace_urls.service(case.environ)
    if name.startswith("unknown_service"):
        yield unknown(f"the service has no name; look for {name}", "OTEL_SERVICE_NAME=shop")
    else:
        yield fine(name)


def sampler(case: Case) -> Iterator[Finding]:
    """It leaves something over."""
    found = list(problems.findings(case, "sampler"))
    choice = case.plan.sampler
    if found or "traces" not in case.plan.exporters or case.is_of_application("traces"):
        yield from found
    elif case.plan.declared is not None:
        yield unknown(f"the sampler is that of {declarative.VARIABLE}")
    elif choice is None:
        yield fine("parentbased_always_on: every trace, unless a caller decides otherwise")
    elif choice.name in _NEVER or (choice.name.endswith("ratio") and _is_zero(choice.argument)):
        yield broken(f"{choice.name} {choice.argument}: no trace is begun", "OTEL_TRACES_SAMPLER")
    else:
        yield fine(f"{choice.name} {choice.argument}".rstrip())


def _is_zero(argument: str) -> bool:
    try:
        return float(argument) == 0
    except ValueError:
        return False
