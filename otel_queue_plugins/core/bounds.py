"""Values that any exporter can encode: one that it cannot costs the whole batch."""

from __future__ import annotations

from typing import Final

MAX_TEXT: Final = 256
_INT64: Final = 2**63


def valid_text(text: object, limit: int = MAX_TEXT) -> str:
    """`text` as a string of valid Unicode, at most `limit` characters."""
    string = text if isinstance(text, str) else str(text)
    return string[:limit].encode("utf-8", "replace").decode()


def bounded(text: str) -> str:
    """`text` itself if it is short and plain, as nearly all are, else what is printable of it."""
    if isinstance(text, str) and len(text) <= MAX_TEXT and text.isascii():
        return text
    return valid_text(text)


def whole(number: int | None) -> int | None:
    """`number` if it fits into the 64 bits that OTLP has for it, else None."""
    return number if number is not None and -_INT64 <= number < _INT64 else None
