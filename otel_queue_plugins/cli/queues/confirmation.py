"""The question before a change."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Final

from otel_queue_plugins.brokers.errors import RefusedError

_YES: Final = frozenset({"y", "yes"})


def confirm(question: str, parsed: Namespace) -> None:
    """Ask, unless `--yes` answers. Raises RefusedError without a yes, or without a terminal."""
    if parsed.yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise RefusedError(f"{question} There is no terminal to ask: --yes answers")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in _YES:
        raise RefusedError("nothing was changed")
