"""Which queues hold tasks: not those of Celery's remote control, its events and its delays."""

from __future__ import annotations

import re
from typing import Final

_OTHERS: Final = re.compile(
    r"otq\.reporter\..*|.*\.pidbox|celeryev(\..*)?|.*celery_delayed_\d+|amq\..*"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}.*",
    re.DOTALL,
)


def is_task_queue(name: str) -> bool:
    """Whether tasks lie in a queue of this name, as far as names can tell."""
    return bool(name) and _OTHERS.fullmatch(name) is None
