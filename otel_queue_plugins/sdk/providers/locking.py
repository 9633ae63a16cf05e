"""The lock of set-up, a new one in each process."""

from __future__ import annotations

import os
import threading

# Keyed by process, so that no child ever meets a lock that its parent held at the fork; made at
# first use, so that it is gevent's own where gevent has replaced threading.
_locks: dict[int, threading.RLock] = {}


def lock_of_this_process() -> threading.RLock:
    """Held while providers are set up."""
    return _locks.setdefault(os.getpid(), threading.RLock())
