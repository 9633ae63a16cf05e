"""Names of variables: those that nobody reads, and the ones that were probably meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_queue_plugins.core import options
from otel_queue_plugins.core.settings.problems import nearest
from otel_queue_plugins.core.settings.variables import STRICT
from otel_queue_plugins.sdk.config.environment import SIGNALS

if TYPE_CHECKING:
    from otel_queue_plugins.sdk.config.environment import Reading

_PREFIX: Final = "OTEL_QUEUE_"
OURS: Final = (
    *(name for name in options.VARIABLES.values() if name.startswith(_PREFIX)),
    STRICT,
    "OTEL_QUEUE_SETUP",
    "OTEL_QUEUE_FLUSH_TIMEOUT",
    "OTEL_QUEUE_FASTPATH",
    "OTEL_QUEUE_RELAY",
)
"""All variables of this package."""

_OTLP: Final = "OTEL_EXPORTER_OTLP_"
_OTLP_SUFFIXES: Final = (
    *("ENDPOINT", "PROTOCOL", "HEADERS", "TIMEOUT", "COMPRESSION", "INSECURE"),
    *("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE"),
)
_BATCH_SUFFIXES: Final = (
    *("SCHEDULE_DELAY", "EXPORT_TIMEOUT", "MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE"),
)
_LIMITS: Final = ("ATTRIBUTE_COUNT_LIMIT", "ATTRIBUTE_VALUE_LENGTH_LIMIT")
# https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
_SPECIFIED: Final = (
    *(
        f"{_OTLP}{kind}{suffix}"
        for kind in ("", "TRACES_", "METRICS_", "LOGS_", "PROFILES_")
        for suffix in _OTLP_SUFFIXES
    ),
    f"{_OTLP}METRICS_TEMPORALITY_PREFERENCE",
    f"{_OTLP}METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
    *(f"OTEL_{signal.upper()}_EXPORTER" for signal in SIGNALS),
    *(f"OTEL_{kind}_{suffix}" for kind in ("BSP", "BLRP") for suffix in _BATCH_SUFFIXES),
    *(
        f"OTEL_{kind}{limit}"
        for kind in ("", "SPAN_", "EVENT_", "LINK_", "LOGRECORD_")
        for limit in _LIMITS
    ),
    *("OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT"),
    *("OTEL_METRIC_EXPORT_INTERVAL", "OTEL_METRIC_EXPORT_TIMEOUT", "OTEL_METRICS_EXEMPLAR_FILTER"),
    *("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_PROPAGATORS", "OTEL_SDK_DISABLED"),
    *("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_CONFIG_FILE", "OTEL_LOG_LEVEL"),
)
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
        if not name.startswith("OTEL_") or name.startswith(_PREFIX) or name in _SPECIFIED:
            continue
        near = _begun(name) or nearest(name, (*_SPECIFIED, *OURS), _ALIKE)
        if near:
            advice = f"OpenTelemetry knows no such variable; did you mean {near}?"
            reading.warn(name, advice, *SIGNALS, value="")


def _begun(name: str) -> str:
    """The OTLP variable of which `name` is the beginning, "" if there is none."""
    is_otlp = name.startswith(_OTLP)
    return next((each for each in _SPECIFIED if is_otlp and each.startswith(name)), "")
