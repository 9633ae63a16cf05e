"""`OTEL_CONFIG_FILE`: a declarative configuration, which the SDK's own loader reads.

https://opentelemetry.io/docs/specs/otel/configuration/data-model/. The loader is a package of its
own, opentelemetry-configuration. Here the file is only found, read by it, and judged.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.core.settings.problems import without_secrets
from otel_queue_plugins.sdk.config import scraping, specified
from otel_queue_plugins.sdk.config.installed import import_or_none, is_importable
from otel_queue_plugins.sdk.config.reader import SIGNALS, Environment
from otel_queue_plugins.sdk.global_providers import has_providers

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE: Final = "OTEL_CONFIG_FILE"
LOADER: Final = "opentelemetry.configuration"
SECTIONS: Final = {
    "traces": "tracer_provider",
    "metrics": "meter_provider",
    "logs": "logger_provider",
}
"""What a file calls the provider of a signal."""

# These have an effect besides a file.
_BESIDES: Final = (VARIABLE, "OTEL_SDK_DISABLED", "OTEL_LOG_LEVEL")
_GRPC: Final = "otlp_grpc"


def is_named(environ: Mapping[str, str]) -> bool:
    """Whether a file is to be used instead of the variables of the specification."""
    return bool(path(environ))


def path(environ: Mapping[str, str]) -> str:
    """The path of the file, "" if none is named."""
    return Environment(environ).value(VARIABLE)


def may_have(environ: Mapping[str, str], signal: str) -> bool:
    """Whether the file has the name of the section of `signal`. It is not understood for that."""
    return SECTIONS[signal] in _text(path(environ))


def uses_grpc(environ: Mapping[str, str]) -> bool:
    """Whether the file has the name of OTLP over gRPC."""
    return _GRPC in _text(path(environ))


def check(environment: Environment) -> bool:
    """Whether there is a file, and a loader for it; what is missing is added to the problems."""
    if environment.file((VARIABLE,), *SIGNALS) is None:
        return False
    if not is_importable(LOADER):
        fix = "pip install opentelemetry-configuration, which reads this file, or unset it"
        environment.reject(VARIABLE, fix, *SIGNALS)
        return False
    text = _text(environment.value(VARIABLE))
    unread = [each for each in environment.names() if _is_unread(each, text)]
    if unread and not has_providers():  # a distribution sets such variables itself
        advice = f"the file counts, and not {', '.join(unread)}; it may name them: ${{{unread[0]}}}"
        environment.warn(VARIABLE, advice)
    return True


def load(environment: Environment) -> Any:
    """What the loader made of the file, None if it cannot; why not is added to the problems.

    Imports the SDK. A file is loaded once in a process and those that are forked from it.
    """
    try:
        model = _load(environment.value(VARIABLE))
    except Exception as error:  # noqa: BLE001 - the loader's own errors, and those of its parts
        reason = without_secrets(f"{type(error).__name__}: {error}")
        environment.reject(VARIABLE, f"it cannot be used: {reason}", *SIGNALS)
        return None
    _check_propagator(environment, model)
    if model.instrumentation_development is not None:
        advice = "instrumentation/development is read by opentelemetry-instrument, and not here"
        environment.warn(VARIABLE, advice)
    return _without_scraped(environment, model)


def sections(model: Any) -> tuple[str, ...]:
    """The signals that the file has a provider for."""
    if model is None or model.disabled:
        return ()
    return tuple(each for each in SIGNALS if getattr(model, SECTIONS[each]) is not None)


def _check_propagator(environment: Environment, model: Any) -> None:
    """The data model has none by default; and `tracecontext:` without {} is none to 0.65b0."""
    if model.disabled:
        return
    advice = (
        "it has no propagator, so messages carry no trace: "
        "add propagator: {composite: [{tracecontext: {}}, {baggage: {}}]}"
    )
    try:
        made = import_or_none(f"{LOADER}.file").create_propagator(model.propagator)
    except Exception as error:  # noqa: BLE001 - as in `load`
        advice = f"its propagator cannot be made: {error}"
    else:
        advice *= not made.fields
    if advice:
        environment.warn(VARIABLE, advice)


@lru_cache(maxsize=1)
def _load(path: str) -> Any:
    loader = import_or_none(LOADER)
    return loader.load_config_file(path)


def _without_scraped(environment: Environment, model: Any) -> Any:
    """In a worker no process opens a port of its own, which would show a part and call it all."""
    readers = getattr(model.meter_provider, "readers", ())
    pushed = [each for each in readers if each.pull is None]
    if len(pushed) == len(readers) or not scraping.is_worker():
        return model
    advice = "a pull reader is left out in a worker; OTEL_QUEUE_HTTP serves all its processes"
    environment.warn(VARIABLE, advice)
    provider = replace(model.meter_provider, readers=pushed) if pushed else None
    return replace(model, meter_provider=provider)


def _is_unread(name: str, text: str) -> bool:
    """Whether the variable has no effect; a file may name it, or let a detector read it."""
    if name not in specified.NAMES or name in _BESIDES or name in text:
        return False
    return name != "OTEL_SERVICE_NAME" or "detectors" not in text


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace") if path else ""
    except OSError:
        return ""
