"""Traces from a backend that has them: the HTTP APIs of Jaeger and Tempo.

Both answer `GET /api/traces/ID`; which of them it is, the answer says. Sources: "Jaeger APIs" (the
JSON of its UI) and "Tempo HTTP API" (a `Trace` in protobuf, which is OTLP's `TracesData`, or that
in JSON, with ids in base64; those who speak its API have them in hexadecimal, too).
"""

from __future__ import annotations

import base64
import json
import re
import ssl
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_queue_plugins.brokers.urls import without_password
from otel_queue_plugins.cli.otlp import read_spans
from otel_queue_plugins.cli.otlp_json import from_document
from otel_queue_plugins.cli.received import ReceivedEvent, ReceivedLink, ReceivedSpan
from otel_queue_plugins.core.settings import definitions

_MOST_BYTES: Final = 64 << 20
_PROTOBUF: Final = "application/protobuf"
_HEX_ID: Final = re.compile(rb'"traceId"\s*:\s*"[0-9a-fA-F]{32}"')
_JAEGER: Final = "jaeger"  # the base of Tempo's links is Grafana's
_NOT_THEIRS: Final = (
    *(ValueError, LookupError, TypeError, AttributeError, RecursionError),
    *(DecodeError, ParseError),
)
"""What reading another kind of answer ends with."""
_OWN_TAGS: Final = frozenset(
    {
        *("span.kind", "error", "otel.status_code", "otel.status_description", "w3c.tracestate"),
        *("otel.scope.name", "otel.scope.version", "otel.library.name", "otel.library.version"),
        "internal.span.format",
    }
)


def default_url(environ: Mapping[str, str]) -> str | None:
    """The backend that `OTEL_QUEUE_TRACE_URL` names, if it is one that can be asked."""
    name, _, base = environ.get(definitions.TRACE_URL.variable, "").strip().partition(":")
    return base if name == _JAEGER else None


class BackendError(ValueError):
    """A backend did not give a trace; the text is one line and says why."""


def fetch_trace(base_url: str, trace_id: str, timeout: float) -> list[ReceivedSpan]:
    """Ask Jaeger or Tempo for a trace.

    Args:
        base_url: Of its API, such as `http://localhost:16686` (Jaeger), `http://localhost:3200`
            (Tempo), or that of a proxy before it. A user and a password in it are sent.
        trace_id: In hexadecimal.
        timeout: Seconds, for the connection and for each wait for bytes.

    Returns:
        Its spans, in no order; none if the backend does not have the trace (yet).

    Raises:
        BackendError: It cannot be reached, refuses, or answers something else.
    """
    shown = without_password(base_url)
    try:
        parts = urlsplit(base_url)
        connection = _connection(parts, timeout)
    except ValueError as error:
        raise BackendError(f"{shown} is not the URL of a backend: {error}") from error
    path = f"{parts.path.rstrip('/')}/api/traces/{trace_id}"
    try:
        connection.request("GET", path, headers={"Accept": _PROTOBUF, **_credentials(parts)})
        with connection.getresponse() as answer:
            return _spans(answer, shown)
    except (OSError, HTTPException) as error:
        raise BackendError(f"{shown} does not answer: {error or type(error).__name__}") from error
    finally:
        connection.close()


def _connection(parts: SplitResult, timeout: float) -> HTTPConnection:
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("it starts with http:// or https://, and has a host")
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=context)
    return HTTPConnection(parts.hostname, parts.port, timeout=timeout)


def _credentials(parts: SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _spans(answer: HTTPResponse, shown: str) -> list[ReceivedSpan]:
    body = answer.read(_MOST_BYTES + 1)
    if answer.status == HTTPStatus.NOT_FOUND and (not body or b"trace not found" in body):
        return []
    if answer.status != HTTPStatus.OK:
        words = " ".join(body[:200].decode(errors="replace").split())
        raise BackendError(f"{shown} answers {answer.status} {answer.reason}: {words}".rstrip(": "))
    if len(body) > _MOST_BYTES:
        raise BackendError(f"{shown} answers with more than {_MOST_BYTES} bytes")
    try:
        if answer.headers.get_content_type() == _PROTOBUF:
            return list(read_spans(ExportTraceServiceRequest.FromString(body)))
        return _from_json(body)
    except _NOT_THEIRS as error:
        raise BackendError(
            f"{shown} does not answer as Jaeger or Tempo does: is it the URL of its API?"
        ) from error


def _from_json(body: bytes) -> list[ReceivedSpan]:
    document = json.loads(body)
    if "data" in document:
        return [span for trace in document["data"] for span in _jaeger_spans(trace)]
    request, export = ExportTraceServiceRequest(), {"resourceSpans": document["batches"]}
    if _HEX_ID.search(body):
        from_document(export, request)
    else:
        ParseDict(export, request, ignore_unknown_fields=True)
    return list(read_spans(request))


def _jaeger_spans(trace: Mapping[str, Any]) -> Iterable[ReceivedSpan]:
    processes = trace["processes"]
    for span in trace["spans"]:
        yield _jaeger_span(span, processes[span["processID"]])


def _jaeger_span(span: Mapping[str, Any], process: Mapping[str, Any]) -> ReceivedSpan:
    tags, service = _tags(span.get("tags")), str(process["serviceName"])
    parent, links = _references(span)
    start_ns = int(span["startTime"]) * 1000
    status = str(tags.get("otel.status_code", "error" if tags.get("error") else "unset")).lower()
    return ReceivedSpan(
        service=service,
        resource={"service.name": service, **_tags(process.get("tags"))},
        scope_name=str(tags.get("otel.scope.name", tags.get("otel.library.name", ""))),
        scope_version=str(tags.get("otel.scope.version", tags.get("otel.library.version", ""))),
        schema_url="",
        trace_id=_identity(span["traceID"], 32),
        span_id=_identity(span["spanID"], 16),
        parent_id=parent,
        trace_state=str(tags.get("w3c.tracestate", "")),
        name=str(span["operationName"]),
        kind=str(tags.get("span.kind", "internal")),
        start_ns=start_ns,
        end_ns=start_ns + int(span["duration"]) * 1000,
        status=status,
        status_description=str(tags.get("otel.status_description", "")),
        attributes={name: value for name, value in tags.items() if name not in _OWN_TAGS},
        events=tuple(_event(each) for each in span.get("logs") or ()),
        links=links,
    )


def _references(span: Mapping[str, Any]) -> tuple[str, tuple[ReceivedLink, ...]]:
    """The parent is the first reference as a child of its own trace; the others are links."""
    parent, links = "", []
    for each in span.get("references") or ():
        trace_id, span_id = _identity(each["traceID"], 32), _identity(each["spanID"], 16)
        is_child = each["refType"] == "CHILD_OF" and trace_id == _identity(span["traceID"], 32)
        if is_child and not parent:
            parent = span_id
        else:
            links.append(ReceivedLink(trace_id=trace_id, span_id=span_id, attributes={}))
    return parent, tuple(links)


def _event(log: Mapping[str, Any]) -> ReceivedEvent:
    fields = _tags(log.get("fields"))
    name = str(fields.pop("event", ""))
    return ReceivedEvent(name=name, time_ns=int(log["timestamp"]) * 1000, attributes=fields)


def _tags(pairs: Iterable[Mapping[str, Any]] | None) -> dict[str, Any]:
    return {str(pair["key"]): _value(pair) for pair in pairs or ()}


def _value(pair: Mapping[str, Any]) -> Any:
    """Jaeger writes numbers as JSON numbers or, if they are long, as text."""
    number = {"int64": int, "float64": float}.get(str(pair.get("type")))
    return number(pair["value"]) if number else pair["value"]


def _identity(text: str, digits: int) -> str:
    return str(text).lower().zfill(digits)
