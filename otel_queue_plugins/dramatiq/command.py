"""What the `dramatiq` command that this process belongs to was told."""

from __future__ import annotations

import sys
from contextlib import redirect_stderr
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Final

_COMMANDS: Final = ("dramatiq", "dramatiq-gevent")


def has_several_processes() -> bool | None:
    """Whether the command runs more than one worker process; None outside of it."""
    called = Path(sys.argv[0] if sys.argv else "")
    is_module = called.name == "__main__.py" and called.parent.name == "dramatiq"
    if called.name not in _COMMANDS and not is_module:
        return None
    try:
        with redirect_stderr(StringIO()):
            parser = import_module("dramatiq.cli").make_argument_parser()
            arguments, _ = parser.parse_known_args(sys.argv[1:])
    except (Exception, SystemExit):  # noqa: BLE001 - somebody else's command of that name
        return None
    return bool(arguments.processes > 1)
