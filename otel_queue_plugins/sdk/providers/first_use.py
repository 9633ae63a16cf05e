"""Detect the first use of the OpenTelemetry API while no provider is set.

Without a provider the API's tracers, meters, instruments and loggers are proxies, which discard
what they get. Here a proxy calls a function before its first span, measurement or log record, so
that a provider can be set in time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.core.patching import apply
from otel_queue_plugins.sdk import patches

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_queue_plugins.core.patching import Call, TakeBack

_undo: Final[dict[str, list[TakeBack]]] = {}


def watch(signal: str, used: Callable[[str], None], observable_made: Callable[[], None]) -> None:
    """Call `used(signal)` before each use of a proxy of `signal`, until `unwatch` is called.

    `observable_made` is called after an observable instrument was created. Neither may raise.
    """
    if signal in _undo:
        return

    def use(call: Call, _proxy: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        used(signal)
        return call(*args, **kwargs)

    def make(call: Call, _meter: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        instrument = call(*args, **kwargs)
        observable_made()
        return instrument

    undo = _undo[signal] = []
    undo += apply(patches.of_first_use(signal, use, make))


def unwatch(signal: str) -> None:
    """Restore the proxies of `signal`."""
    for take_back in _undo.pop(signal, ()):
        take_back()
