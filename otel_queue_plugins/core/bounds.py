"""Bounds of values: one that an exporter cannot encode would cost the whole batch."""

from __future__ import annotations

from typing import Final

MAX_TEXT: Final = 256
_INT64: Final = 2**63


def valid_text(text: object, limit: int = MAX_TEXT) -> str:
    """`text` as a string of valid Unicode, at most `limit` characters."""
    string = text if isinstance(text, str) else str(text)
    return string[:limit].encode("utf-8", "replace").decode()


def bounded(text: str) -> str:
    """`text` itself if it is short ASCII, as nearly all are; else `valid_text(text)`."""
    if isinstance(text, str) and len(text) <= MAX_TEXT and text.isascii():
        return text
    return valid_text(text)


def int64_or_none(number: int | None) -> int | None:
    """`number` if it fits into 64 bits, as OTLP needs it; else None."""
    return number if number is not None and -_INT64 <= number < _INT64 else None
