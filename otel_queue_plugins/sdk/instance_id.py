"""A different `service.instance.id` for each process, also if the user has set one for all."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import Any

KEY = "service.instance.id"
_forked: set[int] = set()


def mark_forked() -> None:
    """Mark this process as forked; called in the child right after the fork."""
    _forked.add(os.getpid())
    _of_process.cache_clear()  # a pid may be used again


def is_child() -> bool:
    """Whether this process was forked or spawned from one with the same settings."""
    return os.getpid() in _forked or has_parent()


def has_parent() -> bool:
    """Whether this process is a child of multiprocessing."""
    multiprocessing = sys.modules.get("multiprocessing.process")
    parent_process = getattr(multiprocessing, "parent_process", None)
    return parent_process is not None and parent_process() is not None


def of_child(given: str) -> str:
    """The user's id, the pid and a random part; the same for all signals of a process.

    The random part makes it differ from that of an earlier child with the same pid.
    """
    return _of_process(given, os.getpid())


@lru_cache
def _of_process(given: str, pid: int) -> str:
    return f"{given}-{pid}-{os.urandom(3).hex()}"


def given_by_user(attributes: Any) -> str | None:
    """The id that the user has set in a resource of this process, None if it was generated."""
    from opentelemetry.sdk import resources

    current = attributes.get(KEY)
    detector = getattr(resources, "ServiceInstanceIdResourceDetector", None)
    generated = detector().detect().attributes.get(KEY) if detector else None
    return str(current) if current and current != generated else None
