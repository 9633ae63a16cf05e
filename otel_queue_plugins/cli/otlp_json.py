"""OTLP as JSON: protobuf's JSON mapping, but for ids, which are hexadecimal."""

from __future__ import annotations

import base64
import json
from typing import Any, Final, TypeVar

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

_M = TypeVar("_M", bound=Message)
_IDS: Final = {"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"}


def from_json(body: bytes, message: _M) -> _M:
    """Read `body` into `message`. Raises ValueError if it is no OTLP in JSON."""
    try:
        return from_document(json.loads(body), message)
    except RecursionError as error:
        raise ValueError(f"no OTLP in JSON: {error}") from error


def from_document(document: Any, message: _M) -> _M:
    """As `from_json`, of what was read already."""
    try:
        document = _with_bytes(document)
        if not isinstance(document, dict):
            raise TypeError(f"a {type(document).__name__} is no export")  # noqa: TRY301
        found: _M = ParseDict(document, message, ignore_unknown_fields=True)
    except (ParseError, RecursionError, AttributeError, TypeError) as error:
        raise ValueError(f"no OTLP in JSON: {error}") from error
    return found


def _with_bytes(value: Any) -> Any:
    """The same with ids as protobuf's mapping has them."""
    if isinstance(value, list):
        return [_with_bytes(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {key: _id(each) if key in _IDS else _with_bytes(each) for key, each in value.items()}


def _id(text: Any) -> str:
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is no id")  # noqa: TRY004 - as for all that is no OTLP
    return base64.b64encode(bytes.fromhex(text)).decode()
