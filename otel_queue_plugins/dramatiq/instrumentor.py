"""Zero-code instrumentation of every broker of the process, by `opentelemetry-instrument`."""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from wrapt import register_post_import_hook

from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.patching import TakeBack, apply
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.dramatiq import patches

if TYPE_CHECKING:
    from types import ModuleType

    from dramatiq import Broker

_log = logging.getLogger("otel_queue_plugins")

_MODULE: Final = "dramatiq.broker"
_ACCEPTED: Final = {each.name for each in fields(Options)} | {"tracer_provider", "meter_provider"}


class _Instrumentation:
    """The state of the instrumentation of this process. `options` is None while it is off."""

    def __init__(self) -> None:
        self.options: dict[str, Any] | None = None
        self.is_waiting = False  # for Dramatiq to be imported
        self.undo: list[TakeBack] = []
        self.brokers: weakref.WeakSet[Broker] = weakref.WeakSet()


_instrumentation: Final = _Instrumentation()


class DramatiqInstrumentor:
    """The instrumentor that the entry point `opentelemetry_instrumentor` names.

    It does not import Dramatiq; it waits until the application does.
    """

    @never_raises(do_nothing)
    def instrument(self, **kwargs: Any) -> None:
        """Instrument all brokers, existing and future. Unknown arguments are ignored."""
        if _instrumentation.options is None:
            _instrumentation.options = {
                name: value for name, value in kwargs.items() if name in _ACCEPTED
            }
            _instrument_when_imported()

    @never_raises(do_nothing)
    def uninstrument(self, **_kwargs: Any) -> None:
        """Take back what `instrument` did."""
        _instrumentation.options = None
        while _instrumentation.undo:
            _instrumentation.undo.pop()()
        for broker in list(_instrumentation.brokers):
            _uninstrument_broker(broker)


def _instrument_when_imported() -> None:
    """Instrument now if Dramatiq is imported, else when it is."""
    if _MODULE in sys.modules:
        _instrument_module()
    elif not _instrumentation.is_waiting:
        _instrumentation.is_waiting = True
        register_post_import_hook(_instrument_module, _MODULE)


@never_raises(do_nothing)
def _instrument_module(_module: ModuleType | None = None) -> None:
    """Patch `Broker`. Waits if another thread is still importing the module."""
    _instrumentation.is_waiting = False
    module = import_module(_MODULE)
    if _instrumentation.options is None:
        return
    _instrumentation.undo += apply(patches.of_all_brokers(_construct_broker))
    if module.global_broker is not None:
        _instrument_broker(module.global_broker)


def _construct_broker(
    init: Callable[..., None], broker: Broker, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Wrap `Broker.__init__`: there is no public hook that adds a middleware to every broker."""
    init(*args, **kwargs)
    _instrument_broker(broker)


def _instrument_broker(broker: Broker) -> None:
    """Instrument one broker. Logs instead of raising, so that the application starts."""
    from otel_queue_plugins.dramatiq.registration import find_middleware, instrument

    if _instrumentation.options is None or find_middleware(broker) is not None:
        return
    try:
        instrument(broker, **_instrumentation.options)
        _instrumentation.brokers.add(broker)
    except Exception as error:  # noqa: BLE001 - see above
        _log.error("Dramatiq is not instrumented: %s", error)


def _uninstrument_broker(broker: Broker) -> None:
    from otel_queue_plugins.dramatiq.registration import uninstrument

    uninstrument(broker)
    _instrumentation.brokers.discard(broker)
