"""Which queues a reporter reports."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from otel_queue_plugins.brokers.names import is_task_queue

MAX_QUEUES: Final = 100

_log = logging.getLogger("otel_queue_plugins")


class QueueChoice:
    """The queues to report now: those that `globs` choose, else what is `consumed`.

    `declared` are the queues that the app knows; a name without wildcards need not be among them.
    At most 100 are reported; the rest is logged once.
    """

    def __init__(
        self,
        consumed: Callable[[], Iterable[str]],
        declared: Callable[[], Iterable[str]],
        globs: Sequence[str],
    ) -> None:
        self._consumed = consumed
        self._declared = declared
        self._globs = globs
        self._has_warned = False

    def __call__(self) -> list[str]:
        """The names, sorted."""
        consumed = set(self._consumed())
        names = self._chosen(consumed | set(self._declared())) if self._globs else consumed
        found = sorted(filter(is_task_queue, names))
        if len(found) > MAX_QUEUES and not self._has_warned:
            self._has_warned = True
            _log.warning(
                "otel_queue_plugins: the state of %d queues is asked for; that of the first %d is "
                "reported, up to %r. Choose others with OTEL_QUEUE_STATE_QUEUES.",
                len(found),
                MAX_QUEUES,
                found[MAX_QUEUES - 1],
            )
        return found[:MAX_QUEUES]

    def _chosen(self, names: set[str]) -> set[str]:
        literal = {glob for glob in self._globs if not set(glob) & set("*?[")}
        return literal | {
            name for name in names if any(fnmatchcase(name, glob) for glob in self._globs)
        }
