"""A producer and a worker in one process, driven a message at a time."""

from __future__ import annotations

from typing import Protocol


class Bench(Protocol):
    """One framework's producer and worker."""

    def send(self, count: int) -> None:
        """Send `count` messages to the queue."""
        ...

    def execute(self, count: int) -> None:
        """Take `count` messages from the queue and do all a worker does with them."""
        ...

    def message_bytes(self) -> int:
        """Send one message, and take it off the queue: its size on the wire."""
        ...
