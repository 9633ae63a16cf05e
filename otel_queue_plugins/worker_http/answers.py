"""What each path answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

TEXT: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"


class Answer(NamedTuple):
    """Status, content type and body."""

    status: int
    content_type: str
    body: bytes


def plain(status: int, text: str) -> Answer:
    """One line of text."""
    return Answer(status, TEXT, f"{text}\n".encode())


Path = Callable[[str], Answer]
"""Answers a request with that `Accept` header."""


class Answers:
    """The answers to requests, by their path."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths

    def to(self, target: str, accept: str) -> Answer:
        """The answer to a GET of `target`. What a path raises is not caught."""
        path, query, _ = target.partition("?")
        if path not in self._paths:
            return plain(404, f"there are {', '.join(self._paths)}")
        if query:
            return plain(400, f"{path} takes no arguments")
        return self._paths[path](accept)


def probe(why_not: Callable[[], str | None], fine: str) -> Path:
    """A path that answers 200, or 503 with the reason that `why_not` returns."""

    def answer(_accept: str) -> Answer:
        reason = why_not()
        return plain(200, fine) if reason is None else plain(503, reason)

    return answer


def document(make: Callable[[], Mapping[str, Any] | None]) -> Path:
    """A path that answers JSON, or 503 where there is nothing to answer yet."""

    def answer(_accept: str) -> Answer:
        made = make()
        if made is None:
            return plain(503, "not captured yet")
        return Answer(200, _JSON, json.dumps(made, indent=1).encode() + b"\n")

    return answer
