"""How the fields of options are defined, in `core/options.py` and in `core/policy/options.py`."""

from __future__ import annotations

from dataclasses import field
from typing import TypeVar

from otel_queue_plugins.core.settings.kinds import Kind

T = TypeVar("T")


def option(default: T, kind: Kind, text: str, variable: str = "", default_text: str = "") -> T:
    """A field of `Options`; see `Setting` for the rest. `variable` is named after it by default."""
    definition = {"kind": kind, "text": text, "variable": variable, "default_text": default_text}
    return field(default=default, metadata=definition)
