"""Redact what a message carries before it is shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.policy.redaction import Redaction


def redacted(value: Any) -> Any:
    """`value` with its texts redacted, at any depth.

    A value is redacted for its name, too: what a key such as `password` has.
    """
    if isinstance(value, Mapping):
        return {redacted(key): _named(key, each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted(each) for each in value]
    return _redaction().whole(value) if isinstance(value, str) else value


def _named(name: object, value: Any) -> Any:
    inner = redacted(value)
    if inner != value or not isinstance(value, (str, bytes, int, float)):
        return inner
    begin, shown = f"{name}=", repr(str(value))
    found = _redaction().whole(begin + shown).removeprefix(begin)
    return inner if found == shown else found.strip("'\"")


@cache
def _redaction() -> Redaction:
    """The one of the environment: a command has no callable of an app."""
    return Options.from_environ(os.environ).redact
