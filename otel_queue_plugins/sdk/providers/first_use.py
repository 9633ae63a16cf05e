"""The first use of the OpenTelemetry API while nobody has set a provider.

Until somebody does, tracers, meters, instruments and loggers are the API's proxies, which discard
what they get. Here a proxy asks for a provider before its first span, measurement or log record,
so that this is not lost. What is replaced are private names of the API: a version that has none of
that name is left as it is, and gets its providers with the first message.
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
# Signal, module, class and the attribute that each use goes through.
_USES: Final = (
    ("traces", "opentelemetry.trace", "ProxyTracer", "_tracer"),
    ("metrics", _INSTRUMENTS, "_ProxyCounter", "add"),
    ("metrics", _INSTRUMENTS, "_ProxyUpDownCounter", "add"),
    ("metrics", _INSTRUMENTS, "_ProxyHistogram", "record"),
    ("metrics", _INSTRUMENTS, "_ProxyGauge", "set"),
    ("logs", "opentelemetry._logs._internal", "ProxyLogger", "_logger"),
)
# An observable instrument is used by nobody before there is a reader that asks its callbacks.
_OBSERVABLES: Final = (
    ("metrics", _METERS, "_ProxyMeter", "create_observable_counter"),
    ("metrics", _METERS, "_ProxyMeter", "create_observable_up_down_counter"),
    ("metrics", _METERS, "_ProxyMeter", "create_observable_gauge"),
)

_take_back: Final[dict[str, list[Callable[[], None]]]] = {}


def watch(signal: str, used: Callable[[str], None], observable_made: Callable[[], None]) -> None:
    """Call `used(signal)` before each use of a proxy, until `forget`. Neither may raise.

    `observable_made` is called after an observable instrument was made.
    """
    if signal in _take_back:
        return
    undo = _take_back[signal] = []
    for kind, module, owner, name in _USES:
        if kind == signal:
            _replace(
                getattr(import_or_none(module), owner, None),
                name,
                _before(lambda: used(signal)),
                undo,
            )
    for kind, module, owner, name in _OBSERVABLES:
        if kind == signal:
            _replace(
                getattr(import_or_none(module), owner, None), name, _after(observable_made), undo
            )


def forget(signal: str) -> None:
    """Leave the proxies of `signal` as the API made them."""
    for undo in _take_back.pop(signal, ()):
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
    undo.append(lambda: _put_back(owner, name, ours, original))


def _put_back(owner: Any, name: str, ours: object, original: object) -> None:
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
