"""Why a demo did not come to its end."""

from __future__ import annotations


class DemoError(Exception):
    """What went wrong, in one line; `details` are lines that help to see why."""

    def __init__(self, reason: str, details: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.details = details
