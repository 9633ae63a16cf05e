"""Which messages of a queue: by task, age and id."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from otel_queue_plugins.brokers.facts import StoredMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """`task` is a glob, `id` an id or the beginning of one, `older_than` an age in seconds.

    None does not select. A message of unknown age is never older than anything.
    """

    task: str | None = None
    id: str | None = None
    older_than: float | None = None

    @property
    def is_all(self) -> bool:
        """Whether every message is selected."""
        return self.task is None and self.id is None and self.older_than is None

    def matches(self, message: StoredMessage, now: float) -> bool:
        """Whether `message` is one of those."""
        if self.task is not None and not fnmatchcase(message.task, self.task):
            return False
        if self.id is not None and not message.id.startswith(self.id):
            return False
        if self.older_than is None:
            return True
        age = message.age(now)
        return age is not None and age >= self.older_than


ALL = Selection()
