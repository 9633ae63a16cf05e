"""Flush within the bound before the default action of SIGTERM, and then die of the signal.

By default SIGTERM ends a process at once, and runs neither `atexit` handlers nor `finally` blocks.
uvicorn, after its shutdown, restores the default action and raises the signal again; `asyncio`
restores it when a handler is removed. So a handler of ours takes the place of the default action,
and `signal.signal` and `signal.getsignal` show it as the default action. A handler of the
application is not changed, and has effect as soon as it is set.
"""

from __future__ import annotations

import os
import platform
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_queue_plugins.core.patching import apply
from otel_queue_plugins.sdk import greenlets, patches
from otel_queue_plugins.sdk.process import flushing, interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

_set_handler, _get_handler = signal.signal, signal.getsignal
_flushing: list[int] = []


def flush_before_default_action() -> None:
    """Flush from now on before this process, or a child of it, dies of SIGTERM by default.

    Only the main thread can set handlers. From another thread this has effect when the default
    action is restored the next time.
    """
    if os.name != "posix":
        return
    apply(patches.of_termination(_on_signal, _on_getsignal), platform.python_version())
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and _get_handler(signal.SIGTERM) is signal.SIG_DFL and not _is_foreign():
        _set_handler(signal.SIGTERM, _handle)


def _is_foreign() -> bool:
    """Whether a server that embeds Python (uWSGI, mod_wsgi) has a handler of its own in C.

    Python may take it for the default action, so the kernel is asked.
    """
    handler = _get_handler(signal.SIGTERM)
    return handler is None or (handler is signal.SIG_DFL and _is_caught())


def _is_caught() -> bool:
    """Whether the kernel has a handler for SIGTERM; False where it cannot be asked (not Linux)."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except (OSError, ValueError):
        return False
    line = next((each for each in status.splitlines() if each.startswith("SigCgt:")), "SigCgt: 0")
    return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def _handle(number: int, frame: FrameType | None) -> None:
    """The handler. A second signal during the flush has no effect."""
    if os.getpid() in _flushing:
        return
    is_green = greenlets.is_green()  # what runs goes on there while a thread flushes
    if not is_green and interrupted.put_off(number, frame):
        return
    _flushing.append(os.getpid())
    if is_green:
        # The signal may have interrupted the hub, which must not wait.
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
    """Wrap `signal.signal(signalnum, handler)`, which returns the previous handler."""
    if len(args) == 2 and _is_default_of_term(*args):  # noqa: PLR2004 - it has no named arguments
        args = (args[0], _handle)
    return _shown(call(*args, **kwargs))


def _is_default_of_term(number: object, handler: object) -> bool:
    is_default = isinstance(handler, int) and handler == signal.SIG_DFL
    return is_default and number == signal.SIGTERM and not _is_foreign()


def _on_getsignal(
    call: Callable[..., Any], _module: None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """Wrap `signal.getsignal(signalnum)`."""
    return _shown(call(*args, **kwargs))


def _shown(handler: Any) -> Any:
    return signal.SIG_DFL if handler is _handle else handler
