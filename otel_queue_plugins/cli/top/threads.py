"""Calls that may wait, made outside of the loop that draws and takes keys."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from textual.dom import DOMNode

_T = TypeVar("_T")
_NAME: Final = "otel-queue-top"


def start(
    node: DOMNode,
    work: Callable[[], Awaitable[object]],
    *,
    group: str = "default",
    exclusive: bool = False,
) -> None:
    """Let `work` run until it ends, or `node` is gone. `exclusive` ends what its group does."""
    untyped: Any = work  # Textual asks for a narrower type than that of an `async def`
    node.run_worker(untyped, group=group, exclusive=exclusive)


async def in_thread(call: Callable[[], _T]) -> _T:
    """`call()`, made in a thread that the end of the program does not wait for."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def settle(how: Callable[[Any], object], value: Any) -> None:
        if not future.done():  # whoever waited may have gone
            how(value)

    def run() -> None:
        how: Callable[[Any], object]
        value: Any
        try:
            how, value = future.set_result, call()
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            how, value = future.set_exception, error
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, how, value)

    threading.Thread(target=run, name=_NAME, daemon=True).start()
    return await future
