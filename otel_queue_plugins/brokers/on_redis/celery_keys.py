"""The keys that kombu keeps Celery's queues under, with the app's prefix and options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SEPARATOR: Final = "\x06\x16"
ASIDE_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """`prefix` is the whole of `global_keyprefix`; `visibility_timeout` is in seconds."""

    prefix: str = ""
    separator: str = SEPARATOR
    priority_steps: tuple[int, ...] = (0, 3, 6, 9)
    unacked_key: str = "unacked"
    unacked_index_key: str = "unacked_index"
    visibility_timeout: float = 3600

    def lists(self, queue: str) -> list[str]:
        """The lists of a queue, that of the first served priority first."""
        names = [
            f"{queue}{self.separator}{step}" if step else queue for step in self.priority_steps
        ]
        return [self.prefix + name for name in names]

    @property
    def unacked(self) -> str:
        """The hash of what workers hold, of all queues of the database."""
        return self.prefix + self.unacked_key

    @property
    def unacked_index(self) -> str:
        """The sorted set of when they got it."""
        return self.prefix + self.unacked_index_key

    def bindings(self, exchange: str) -> str:
        """The set of what is bound to an exchange; `*` for the pattern of all of them."""
        return f"{self.prefix}_kombu.binding.{exchange}"

    @property
    def leases(self) -> str:
        """What comes before the name of a queue in the key of its lease."""
        return f"{self.prefix}otq:reporter:"

    def receipts(self, queue: str) -> str:
        """The list of the purges of a queue that can be undone, the last one last."""
        return f"{self.prefix}otq:purged:{queue}"

    def aside(self, queue: str, receipt: str, step: int) -> str:
        """Where a purge puts what it takes away from the list of that number."""
        return f"{self.receipts(queue)}:{receipt}:{step}"


def keys_of(channel: Any, options: Mapping[str, Any]) -> Keys:
    """The keys by kombu's channel class and the transport options of the app."""

    def option(name: str) -> Any:
        value = options.get(name)
        return getattr(channel, name) if value is None else value

    return Keys(
        prefix=option("global_keyprefix") or "",
        separator=option("sep"),
        priority_steps=tuple(option("priority_steps")),
        unacked_key=option("unacked_key"),
        unacked_index_key=option("unacked_index_key"),
        visibility_timeout=option("visibility_timeout"),
    )
