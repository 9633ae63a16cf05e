"""A `service.instance.id` for each process, also where a user gave one to all of them."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import Any

KEY = "service.instance.id"
_forked: set[int] = set()


def note_fork() -> None:
    """Said in a child right after a fork."""
    _forked.add(os.getpid())
    _of_process.cache_clear()  # a pid may come again


def is_child() -> bool:
    """Whether this process was made from one that may use the same settings (fork or spawn)."""
    return os.getpid() in _forked or has_parent()


def has_parent() -> bool:
    """Whether this process is a child of multiprocessing."""
    multiprocessing = sys.modules.get("multiprocessing.process")
    parent_process = getattr(multiprocessing, "parent_process", None)
    return parent_process is not None and parent_process() is not None


def of_child(given: str) -> str:
    """What the user gave, the pid, and what tells this child from an earlier one of that pid.

    The same for all signals of a process.
    """
    return _of_process(given, os.getpid())


@lru_cache
def _of_process(given: str, pid: int) -> str:
    return f"{given}-{pid}-{os.urandom(3).hex()}"


def given_by_user(attributes: Any) -> str | None:
    """The id that a user chose for a resource made in this process; None if it is a random one."""
    from opentelemetry.sdk import resources

    current = attributes.get(KEY)
    detector = getattr(resources, "ServiceInstanceIdResourceDetector", None)
    generated = detector().detect().attributes.get(KEY) if detector else None
    return str(current) if current and current != generated else None
