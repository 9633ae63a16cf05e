"""The variables of OpenTelemetry's specification: their names, and what the documentation says.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
`docs/reference/configuration.md` is generated from `GROUPS`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

OTLP: Final = "OTEL_EXPORTER_OTLP_"
_SIGNALS: Final = ("TRACES", "METRICS", "LOGS", "PROFILES")
_SCOPES: Final = ("", "SPAN_", "EVENT_", "LINK_", "LOGRECORD_")


class Group(NamedTuple):
    """Variables that are documented together.

    Args:
        text: Their effect, in Markdown; "" for variables without an effect, which are not shown.
        names: Their names.
        shown: How the documentation writes the names, in Markdown; "" for all of them in a row.
    """

    text: str
    names: tuple[str, ...]
    shown: str = ""


def _otlp(*suffixes: str) -> tuple[str, ...]:
    """The general variables, and after them those of each signal."""
    own = (f"{OTLP}{signal}_{suffix}" for signal in _SIGNALS for suffix in suffixes)
    return (*(f"{OTLP}{suffix}" for suffix in suffixes), *own)


GROUPS: Final = (
    Group("who sends", ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES")),
    Group("switches traces and metrics on", (f"{OTLP}ENDPOINT",)),
    Group(
        "for one signal; as it is, so with its path. Set to the empty string it switches its "
        "signal off",
        _otlp("ENDPOINT")[1:],
        "`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, `..._METRICS_ENDPOINT`, `..._LOGS_ENDPOINT`",
    ),
    Group(
        "`http/protobuf` (the default here) or `grpc`; also per signal",
        _otlp("PROTOCOL"),
        "`OTEL_EXPORTER_OTLP_PROTOCOL`",
    ),
    Group(
        "as specified, also per signal",
        _otlp(
            *("HEADERS", "TIMEOUT", "COMPRESSION", "CERTIFICATE", "CLIENT_KEY"),
            *("CLIENT_CERTIFICATE", "INSECURE"),
        ),
        "`OTEL_EXPORTER_OTLP_HEADERS`, `..._TIMEOUT`, `..._COMPRESSION`, `..._CERTIFICATE`, "
        "`..._CLIENT_KEY`, `..._CLIENT_CERTIFICATE`, `..._INSECURE`",
    ),
    Group(
        "`otlp`, `console`, `none` or an installed exporter. Logs have to be asked for. "
        "`prometheus` is read [at one port of a worker](#prometheus)",
        ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"),
    ),
    Group(
        "where Prometheus reads: `localhost` and `9464`. `OTEL_QUEUE_HTTP` goes before them",
        ("OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_PORT"),
    ),
    Group(
        "built-in samplers and installed ones; `taskqueue` "
        "[decides by task and queue](../how-to/sampling.md#by-task-and-queue-at-a-share-or-a-rate)",
        ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"),
    ),
    Group(
        "`tracecontext`, `baggage`, `b3`, `b3multi`, `none`, or an installed one",
        ("OTEL_PROPAGATORS",),
    ),
    Group(
        "as specified",
        (
            *(
                f"OTEL_{kind}_{suffix}"
                for kind in ("BSP", "BLRP")
                for suffix in (
                    *("SCHEDULE_DELAY", "EXPORT_TIMEOUT"),
                    *("MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE"),
                )
            ),
            *("OTEL_METRIC_EXPORT_INTERVAL", "OTEL_METRIC_EXPORT_TIMEOUT"),
            *(f"OTEL_{scope}ATTRIBUTE_COUNT_LIMIT" for scope in _SCOPES),
            *(f"OTEL_{scope}ATTRIBUTE_VALUE_LENGTH_LIMIT" for scope in _SCOPES),
            *("OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT"),
        ),
        "`OTEL_BSP_*`, `OTEL_BLRP_*`, `OTEL_METRIC_EXPORT_*`, `OTEL_*_LIMIT`",
    ),
    Group("`cumulative`, `delta`, `lowmemory`", (f"{OTLP}METRICS_TEMPORALITY_PREFERENCE",)),
    Group(
        "`explicit_bucket_histogram`, `base2_exponential_bucket_histogram`",
        (f"{OTLP}METRICS_DEFAULT_HISTOGRAM_AGGREGATION",),
    ),
    Group("`trace_based`, `always_on`, `always_off`", ("OTEL_METRICS_EXEMPLAR_FILTER",)),
    Group(
        "`true` switches everything off; as the specification has it, nothing else does, and a "
        "line says so",
        ("OTEL_SDK_DISABLED",),
    ),
    Group(
        "[a declarative configuration](../how-to/configuration-file.md), which counts instead of "
        "these variables",
        ("OTEL_CONFIG_FILE",),
    ),
    Group("", ("OTEL_LOG_LEVEL",)),
)
NAMES: Final = tuple(dict.fromkeys(name for group in GROUPS for name in group.names))
"""All of them."""
