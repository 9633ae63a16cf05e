"""The first use of the OpenTelemetry API while nobody has set a provider.

Until somebody does, tracers, meters, instruments and loggers are the API's proxies, which discard
what they get. Here a proxy asks for a provider before its first span, measurement or log record,
so that this is not lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.core.patching import apply
from otel_queue_plugins.sdk import patches

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_queue_plugins.core.patching import Call, TakeBack

_take_back: Final[dict[str, list[TakeBack]]] = {}


def watch(signal: str, used: Callable[[str], None], observable_made: Callable[[], None]) -> None:
    """Call `used(signal)` before each use of a proxy, until `forget`. Neither may raise.

    `observable_made` is called after an observable instrument was made.
    """
    if signal in _take_back:
        return

    def use(call: Call, _proxy: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        used(signal)
        return call(*args, **kwargs)

    def make(call: Call, _meter: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        instrument = call(*args, **kwargs)
        observable_made()
        return instrument

    undo = _take_back[signal] = []
    undo += apply(patches.of_first_use(signal, use, make))


def forget(signal: str) -> None:
    """Leave the proxies of `signal` as the API made them."""
    for take_back in _take_back.pop(signal, ()):
        take_back()
