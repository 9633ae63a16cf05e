"""Leave arguments and results of tasks out of what Celery logs, for records that are exported."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

HIDDEN: Final = "..."

# By the begin of a record's text: which of its values have no arguments. The others have the body
# or the headers of a message.
_SHOWN: Final[Mapping[str, tuple[int, ...]]] = {
    "Received and deleted unknown message": (),
    "Received unregistered task of type": (0, 3),
    "Received invalid task message": (0,),
    "Can't decode message body": (0, 1, 2),
    "TaskPool: Apply": (0,),
}
_HIDDEN_NAMES: Final = dict.fromkeys(("args", "kwargs", "return_value"), HIDDEN)
_SCHEDULE: Final = "Current schedule:"


def without_arguments(record: logging.LogRecord) -> str | None:
    """Return the text of a record of Celery that prints arguments; None for all others."""
    if not record.name.startswith("celery."):
        return None
    text, args = str(record.msg), record.args
    if isinstance(args, Mapping):
        is_printed = any(f"%({name})" in text for name in _HIDDEN_NAMES)
        return text % {**args, **_HIDDEN_NAMES} if is_printed else None
    if text.startswith(_SCHEDULE):
        return f"{_SCHEDULE} {HIDDEN}"
    for begin, shown in _SHOWN.items():
        if text.startswith(begin):
            values = enumerate(args or ())
            return text % tuple(each if at in shown else HIDDEN for at, each in values)
    return None
