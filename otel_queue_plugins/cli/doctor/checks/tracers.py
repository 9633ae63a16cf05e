"""What another tracer of the same framework means for what arrives."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, NamedTuple

from otel_queue_plugins.cli.doctor.findings import Finding, broken, fine

_SENTRY: Final = "sentry-sdk"
_CONTRIB: Final = "opentelemetry-instrumentation-celery"


class _Meaning(NamedTuple):
    """What a tracer does beside this package, and how it is turned off."""

    effect: str
    fix: str


_MEANINGS: Final = {
    _CONTRIB: _Meaning(
        "every message has two send and two process spans in the same backend, and the two "
        "overwrite each other's traceparent",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=celery, or no CeleryInstrumentor().instrument()",
    ),
    "ddtrace": _Meaning(
        "every message is traced twice: its spans in Datadog's own format are other traces than "
        "those that are sent over OTLP",
        "DD_TRACE_{framework}_ENABLED=false",
    ),
    _SENTRY: _Meaning(
        "every message is traced twice: Sentry has transactions of its own, and writes its baggage "
        "into the message. Its reports of errors are no harm",
        "sentry_sdk.init(...) without traces_sample_rate and traces_sampler",
    ),
}


def found(titles: Iterable[str], framework: str) -> Iterator[Finding]:
    """A finding for each tracer that is active; one that all is well if there is none."""
    active = [title for title in titles if title != _SENTRY or _does_sentry_trace()]
    for title in active:
        effect, fix = _MEANINGS[title]
        yield broken(
            f"{title} traces {framework}, too: {effect}",
            fix.format(framework=framework.upper()),
        )
    if not active:
        yield fine(f"none{_waiting(framework)}")


def _does_sentry_trace() -> bool:
    sentry: Any = sys.modules.get("sentry_sdk")
    try:
        options = sentry.get_client().options
    except Exception:  # noqa: BLE001 - another version
        return True
    return bool(options.get("traces_sampler")) or options.get("traces_sample_rate") is not None


def _waiting(framework: str) -> str:
    """A tracer that is installed, and that `opentelemetry-instrument` would load."""
    try:
        version(_CONTRIB)
    except PackageNotFoundError:
        return ""
    if framework != "celery":
        return ""
    fix = _MEANINGS[_CONTRIB].fix.partition(",")[0]
    return f" in this process; opentelemetry-instrument would load {_CONTRIB}, unless {fix}"
