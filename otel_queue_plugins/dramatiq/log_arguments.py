"""Leave the arguments of messages out of what Dramatiq logs, for records that are exported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import logging

_OF_ACTOR: Final = "Received args=%r kwargs=%r."


def without_arguments(record: logging.LogRecord) -> str | None:
    """Return the text of a record of Dramatiq that prints a message; None for all others."""
    if record.msg == _OF_ACTOR:
        return "Received args=... kwargs=..."
    args = record.args
    if type(args) is not tuple or not record.name.startswith("dramatiq."):
        return None
    if not any(hasattr(each, "actor_name") for each in args):
        return None
    return str(record.msg) % tuple(_shown(each) for each in args)


def _shown(value: Any) -> Any:
    """Return what `str` makes of a message, without its arguments."""
    return f"{value.actor_name}(...)" if hasattr(value, "actor_name") else value
