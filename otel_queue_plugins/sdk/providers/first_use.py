"""Detect the first use of the OpenTelemetry API while no provider is set.

Without a provider the API's tracers, meters, instruments and loggers are proxies, which discard
what they get. Here a proxy calls a function before its first span, measurement or log record, so
that a provider can be set in time. The patched names are private to the API: a version without one
of them is not patched there, and providers are set up with the first message.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.sdk.config.installed import import_or_none

if TYPE_CHECKING:
    from collections.abc import Callable

    _Call = Callable[..., Any]
    _Around = Callable[[_Call], _Call]

_INSTRUMENTS: Final = "opentelemetry.metrics._internal.instrument"
_METERS: Final = "opentelemetry.metrics._internal"
# Signal, module, class, and the attribute that every use needs.
_USES: Final = (
    ("traces", "opentelemetry.trace", "ProxyTracer", "_tracer"),
    ("metrics", _INSTRUMENTS, "_ProxyCounter", "add"),
    ("metrics", _INSTRUMENTS, "_ProxyUpDownCounter", "add"),
    ("metrics", _INSTRUMENTS, "_ProxyHistogram", "record"),
    ("metrics", _INSTRUMENTS, "_ProxyGauge", "set"),
    ("logs", "opentelemetry._logs._internal", "ProxyLogger", "_logger"),
)
# The callbacks of an observable instrument are called by a reader only, so its creation counts.
_OBSERVABLES: Final = (
    ("metrics", _METERS, "_ProxyMeter", "create_observable_counter"),
    ("metrics", _METERS, "_ProxyMeter", "create_observable_up_down_counter"),
    ("metrics", _METERS, "_ProxyMeter", "create_observable_gauge"),
)

_undo: Final[dict[str, list[Callable[[], None]]]] = {}


def watch(signal: str, used: Callable[[str], None], observable_made: Callable[[], None]) -> None:
    """Call `used(signal)` before each use of a proxy of `signal`, until `unwatch` is called.

    `observable_made` is called after an observable instrument was created. Neither may raise.
    """
    if signal in _undo:
        return
    undo = _undo[signal] = []
    before, after = _before(lambda: used(signal)), _after(observable_made)
    for patches, around in ((_USES, before), (_OBSERVABLES, after)):
        for kind, module, owner, name in patches:
            if kind == signal:
                _replace(getattr(import_or_none(module), owner, None), name, around, undo)


def unwatch(signal: str) -> None:
    """Restore the proxies of `signal`."""
    for undo in _undo.pop(signal, ()):
        undo()


def _replace(owner: Any, name: str, around: _Around, undo: list[Callable[[], None]]) -> None:
    original = None if owner is None else vars(owner).get(name)
    if isinstance(original, property) and original.fget is not None:
        ours: Any = property(around(original.fget))
    elif callable(original):
        ours = around(original)
    else:
        return
    setattr(owner, name, ours)
    undo.append(lambda: _restore(owner, name, ours, original))


def _restore(owner: Any, name: str, ours: object, original: object) -> None:
    if vars(owner).get(name) is ours:
        setattr(owner, name, original)


def _before(act: Callable[[], None]) -> _Around:
    def around(original: _Call) -> _Call:
        @wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            act()
            return original(*args, **kwargs)

        return call

    return around


def _after(act: Callable[[], None]) -> _Around:
    def around(original: _Call) -> _Call:
        @wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            act()
            return result

        return call

    return around
