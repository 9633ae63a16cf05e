"""Templates for the URL of a trace in a backend.

A template has `{trace_id}` in it, and optionally `{span_id}`, `{service}`, `{start_s}` and
`{end_s}` (seconds since the epoch). Backends that are known by name need only their base.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

_PANE: Final = (
    '{"a":{"datasource":"tempo","queries":[{"refId":"A","queryType":"traceql","query":"_ID_"}],'
    '"range":{"from":"_FROM_","to":"_TO_"}}}'
)
_TEMPO: Final = (
    quote(_PANE).replace("_ID_", "{trace_id}").replace("_FROM_", "{start_s}000")
).replace("_TO_", "{end_s}000")
_HONEYCOMB: Final = (
    "/trace?trace_id={trace_id}&span={span_id}&trace_start_ts={start_s}&trace_end_ts={end_s}"
)
BACKENDS: Final[Mapping[str, str]] = {
    "jaeger": "{base}/trace/{trace_id}",
    "zipkin": "{base}/zipkin/traces/{trace_id}",
    "tempo": f"{{base}}/explore?schemaVersion=1&orgId=1&panes={_TEMPO}",
    "datadog": "{base}/apm/trace/{trace_id}",
    "honeycomb": f"{{base}}{_HONEYCOMB}",
    "newrelic": "{base}/distributed-tracing?query=trace.id%3D{trace_id}",
    "xray": "https://{base}.console.aws.amazon.com/cloudwatch/home?region={base}"
    "#xray:traces/1-{trace_id_head}-{trace_id_tail}",
    "gcp": "https://console.cloud.google.com/traces/explorer;traceId={trace_id}?project={base}",
    "sentry": "{base}/explore/traces/trace/{trace_id}/",
}
"""By the name of the backend; `{base}` is what follows the colon in the setting."""

_NAMES_NOT_URLS: Final = {"xray": "a region", "gcp": "a project"}
_WORD: Final = re.compile(r"[\w.:-]+", re.ASCII)
_FIELD: Final = re.compile(r"\{(\w+)\}")


class TraceUrl:
    """A template, or the name of a backend and its base with a colon between."""

    def __str__(self) -> str:
        listed = ", ".join(f"'{name}:BASE'" for name in BACKENDS)
        return f"a URL with '{{trace_id}}' in it, or one of {listed}"

    def check(self, value: object) -> str:
        """Return the template that `value` means."""
        text = value if isinstance(value, str) else ""
        name, colon, base = text.partition(":")
        if name in BACKENDS and colon:
            return of_backend(name, base)
        if "{trace_id}" not in text or not _is_url(text):
            raise ValueError(f"{value!r} is not {self}")
        return text

    parse = check


def of_backend(name: str, base: str) -> str:
    """The template of a backend. Raises ValueError if `base` is not what it needs."""
    wanted = _NAMES_NOT_URLS.get(name, "a URL")
    is_right = _WORD.fullmatch(base) if name in _NAMES_NOT_URLS else _is_url(base)
    if not is_right:
        raise ValueError(f"{name} needs {wanted} after the colon, not {base!r}")
    base = base.rstrip("/")
    if name == "zipkin":
        base = base.removesuffix("/zipkin")
    return BACKENDS[name].replace("{base}", base)


def filled(template: str, values: Mapping[str, str]) -> str:
    """The URL: `values` in place of the names in braces. What is no name of a value stays."""

    def put(match: re.Match[str]) -> str:
        name = match[1]
        return quote(values[name], safe="") if name in values else match[0]

    return _FIELD.sub(put, template)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc)
