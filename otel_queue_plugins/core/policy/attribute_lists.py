"""Lists of the attributes that may leave, and of those that may not."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final

from otel_queue_plugins.core import semconv

REQUIRED_ON_METRICS: Final = (
    semconv.MESSAGING_SYSTEM,
    semconv.MESSAGING_OPERATION_NAME,
    semconv.MESSAGING_OPERATION_TYPE,
    semconv.ERROR_TYPE,
)
_MAX_KEPT: Final = 1000


class AttributeLists:
    """Globs of names. With `allow`, only those that it matches leave; never those of `deny`.

    The names of `required` always leave.
    """

    def __init__(
        self, allow: Iterable[str], deny: Iterable[str], required: Iterable[str] = ()
    ) -> None:
        self._allow = tuple(allow)
        self._deny = tuple(deny)
        self._known = dict.fromkeys(required, True)

    def __bool__(self) -> bool:
        """Whether there is a list at all."""
        return bool(self._allow or self._deny)

    def kept(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """Those of `attributes` that may leave."""
        return {name: value for name, value in attributes.items() if self._keeps(name)}

    def _keeps(self, name: str) -> bool:
        known = self._known.get(name)
        if known is None:
            known = not self._allow or _matches(name, self._allow)
            known = known and not _matches(name, self._deny)
            if len(self._known) < _MAX_KEPT:
                self._known[name] = known
        return known


def _matches(name: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


@lru_cache
def of_spans(allow: tuple[str, ...], deny: tuple[str, ...]) -> AttributeLists:
    """The lists for spans and their events."""
    return AttributeLists(allow, deny)


@lru_cache
def of_metrics(deny: tuple[str, ...]) -> AttributeLists:
    """The lists for metrics, which keep what the conventions for messaging require."""
    return AttributeLists((), deny, REQUIRED_ON_METRICS)
