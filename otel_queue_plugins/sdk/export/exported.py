"""Count exports that have succeeded, in this process and all that it forks."""

from __future__ import annotations

import time

from otel_queue_plugins.sdk.shared_memory import DROPPED, EXPORTED, LAST_EXPORT


def add(spans: int) -> None:
    """The backend has confirmed an export with so many spans; 0 for one of another signal."""
    LAST_EXPORT.at = time.time()
    if spans:
        EXPORTED.add(spans)


def spans() -> int:
    """How many spans the backend has confirmed."""
    return EXPORTED.total()


def dropped() -> dict[str, int]:
    """How many spans will not be exported, by reason; reasons without any are left out."""
    totals = {reason: tally.total() for reason, tally in DROPPED.items()}
    return {reason: total for reason, total in totals.items() if total}


def last_at() -> float | None:
    """When an export has succeeded last, in seconds since the epoch; None before the first."""
    return LAST_EXPORT.at or None
