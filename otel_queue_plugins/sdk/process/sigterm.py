"""SIGTERM where it has its default action: flush within the bound, then die of it as before.

By default SIGTERM ends a process at once, and runs neither `atexit` handlers nor `finally` blocks.
uvicorn, after it has shut down, puts the default action back and raises the signal again; so does
`asyncio` when a handler is removed. So the default action is replaced for as long as it is what the
application wants, which `signal.signal` and `signal.getsignal` do not show. A handler of the
application is not touched, and is in place as soon as it is set.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_queue_plugins.core.wrapping import wrap
from otel_queue_plugins.sdk.process import flushing, greenlets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

_set_handler, _get_handler = signal.signal, signal.getsignal
_ending: list[int] = []


def flush_before_default_action() -> None:
    """From now on flush before this process, or a child of it, dies of SIGTERM by default.

    In a thread other than the main one, which alone can set handlers, this takes effect when the
    default action is put back.
    """
    if os.name != "posix":
        return
    wrap(signal, "signal", _on_signal)
    wrap(signal, "getsignal", _on_getsignal)
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and _get_handler(signal.SIGTERM) is signal.SIG_DFL and not _is_foreign():
        _set_handler(signal.SIGTERM, _end)


def _is_foreign() -> bool:
    """Whether a server that embeds Python (uWSGI, mod_wsgi) has a handler of its own in C.

    Python may take that for the default action; the kernel knows better.
    """
    handler = _get_handler(signal.SIGTERM)
    return handler is None or (handler is signal.SIG_DFL and _is_caught())


def _is_caught() -> bool:
    """Whether the kernel would call a handler; False where it does not say (other than Linux)."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except (OSError, ValueError):
        return False
    line = next((each for each in status.splitlines() if each.startswith("SigCgt:")), "SigCgt: 0")
    return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def _end(number: int, _frame: FrameType | None) -> None:
    """Once in each process: a signal that comes again meanwhile does not cut the flush short."""
    if os.getpid() in _ending:
        return
    _ending.append(os.getpid())
    if greenlets.is_green():
        # The hub may be what was interrupted, and it cannot wait.
        threading.Thread(target=_flush_and_die, args=(number,), daemon=True).start()
    else:
        _flush_and_die(number)


def _flush_and_die(number: int) -> None:
    try:
        flushing.flush()
    finally:
        _set_handler(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _on_signal(
    call: Callable[..., Any], _module: None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """Around `signal.signal(signalnum, handler)`, which returns the handler before."""
    if len(args) == 2 and _is_default_of_term(*args):  # noqa: PLR2004 - and it takes no names
        args = (args[0], _end)
    return _shown(call(*args, **kwargs))


def _is_default_of_term(number: object, handler: object) -> bool:
    is_default = isinstance(handler, int) and handler == signal.SIG_DFL
    return is_default and number == signal.SIGTERM and not _is_foreign()


def _on_getsignal(
    call: Callable[..., Any], _module: None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """Around `signal.getsignal(signalnum)`."""
    return _shown(call(*args, **kwargs))


def _shown(handler: Any) -> Any:
    return signal.SIG_DFL if handler is _end else handler
