"""Definitions of environment variables: how each is read, and what the documentation says of it.

`docs/reference/configuration.md` is generated from them: `python -m tests.configuration_page`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from otel_queue_plugins.core.settings.kinds import (
    Address,
    Choice,
    Flag,
    Globs,
    HostPort,
    Kind,
    Number,
    Seconds,
)
from otel_queue_plugins.core.settings.trace_templates import TraceUrl
from otel_queue_plugins.core.settings.variables import Variables

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting(Generic[T]):
    """One environment variable of this package.

    Args:
        variable: Its name.
        kind: The values it may have.
        default: The value while it is unset or wrong.
        text: Its effect, in Markdown.
        argument: The keyword argument of `instrument` with the same meaning, "" if there is none.
        default_text: The default in words, "" where `default` speaks for itself.
    """

    variable: str
    kind: Kind
    default: T
    text: str
    argument: str = ""
    default_text: str = ""


SETUP: Final = Setting(
    variable="OTEL_QUEUE_SETUP",
    kind=Flag(),
    default=True,
    text="`off`: never set up providers",
)
STRICT: Final = Setting(
    variable="OTEL_QUEUE_STRICT",
    kind=Flag(),
    default=False,
    text="`on`: a setting that cannot be right stops the start instead of switching its signal off",
)
FASTPATH: Final[Setting[bool | None]] = Setting(
    variable="OTEL_QUEUE_FASTPATH",
    kind=Flag(),
    default=None,
    default_text="by version",
    text="`off`: make spans and record measurements through the public API only; `on`: "
    "[the fast path](#the-fast-path) also with a version of the SDK that it is not proven with",
)
RELAY: Final = Setting(
    variable="OTEL_QUEUE_RELAY",
    kind=Flag(),
    default=True,
    text="`off`: each process of a forked Celery pool exports for itself, instead of the main "
    "process for all: [one exporter for a forked pool]"
    "(../explanation/processes.md#one-exporter-for-a-forked-pool)",
)
FLUSH_TIMEOUT: Final = Setting(
    variable="OTEL_QUEUE_FLUSH_TIMEOUT",
    kind=Seconds(),
    default=5.0,
    text="seconds by which an unreachable backend may delay the end of a process",
)
STATE_INTERVAL: Final = Setting(
    variable="OTEL_QUEUE_STATE_INTERVAL",
    kind=Number(),
    default=15.0,
    text="seconds between two looks at [the state of queues](telemetry.md#the-state-of-queues)",
)
STATE_QUEUES: Final[Setting[Sequence[str]]] = Setting(
    variable="OTEL_QUEUE_STATE_QUEUES",
    kind=Globs(),
    default=(),
    default_text="what the worker consumes",
    text="the queues to report, of those that the app declares: names or globs, with commas "
    "between",
)
STATE_LEASE: Final = Setting(
    variable="OTEL_QUEUE_STATE_LEASE",
    kind=Flag(),
    default=True,
    text="`off`: report without a lease on the broker, for one reporter alone whose user may not "
    "hold one",
)
TRACE_URL: Final[Setting[str | None]] = Setting(
    variable="OTEL_QUEUE_TRACE_URL",
    kind=TraceUrl(),
    default=None,
    default_text="by the OTLP endpoint, if that is a vendor's",
    text="where [links to traces](../how-to/operate-queues.md#links-to-traces) lead",
)
AUDIT: Final = Setting(
    variable="OTEL_QUEUE_AUDIT",
    kind=Choice("changes", "all"),
    default="changes",
    text="`all`: `otel-queue` sends a span not only when it changes a queue, but also when it "
    "shows one",
)
HTTP: Final[Setting[HostPort | None]] = Setting(
    variable="OTEL_QUEUE_HTTP",
    kind=Address(),
    default=None,
    default_text="off",
    text="`[HOST:]PORT` at which a worker serves `/stats`, `/metrics`, `/livez` and `/readyz`: "
    "[a port for probes and Prometheus](../how-to/worker-http.md); the host is `127.0.0.1` if "
    "there is none",
)
LIVE_TIMEOUT: Final = Setting(
    variable="OTEL_QUEUE_LIVE_TIMEOUT",
    kind=Number(),
    default=60.0,
    text="seconds after which `/livez` calls a worker hanging whose loop has not turned",
)
WITHOUT_ARGUMENT: Final[tuple[Setting[Any], ...]] = (
    *(SETUP, STRICT, FASTPATH, RELAY, FLUSH_TIMEOUT),
    *(STATE_INTERVAL, STATE_QUEUES, STATE_LEASE),
    *(TRACE_URL, AUDIT),
    *(HTTP, LIVE_TIMEOUT),
)
"""The variables that are no option of `instrument`."""


def read(variables: Variables, setting: Setting[T]) -> T:
    """The value of `setting`, or its default; a wrong value is added to `variables.problems`."""
    text = variables.value(setting.variable)
    if not text:
        return setting.default
    try:
        parsed: Any = setting.kind.parse(text)
    except ValueError:
        variables.reject(setting.variable, f"use {setting.kind}")
        return setting.default
    value: T = parsed
    return value


def is_strict(environ: Mapping[str, str]) -> bool:
    """Whether a wrong setting has to raise an error at the start."""
    return read(Variables(environ), STRICT)
