"""Keys that are pressed in the terminal while the command runs."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_LOOK_S: Final = 0.2


@contextmanager
def pressed(key: str, act: Callable[[], object]) -> Iterator[bool]:
    """Call `act` in a thread whenever `key` is pressed. Yields whether there is a terminal."""
    try:
        import termios
        import tty

        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (ImportError, OSError, ValueError, termios.error):
        yield False
        return
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            if select.select([descriptor], [], [], _LOOK_S)[0]:
                found = os.read(descriptor, 1)
                if not found:
                    return
                if found.decode(errors="replace") == key:
                    act()

    try:
        tty.setcbreak(descriptor)  # Ctrl-C stays what it is
        thread = threading.Thread(target=read, name="otel-queue-keys", daemon=True)
        thread.start()
        yield True
    finally:
        ended.set()
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
