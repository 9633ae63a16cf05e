"""Zero-code instrumentation: every broker of the process, built before or after."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.safety import do_nothing, never_raises
from otel_queue_plugins.core.wrapping import wrap
from otel_queue_plugins.dramatiq.importing import when_imported

if TYPE_CHECKING:
    from types import ModuleType

    from dramatiq import Broker

_log = logging.getLogger("otel_queue_plugins")

_ACCEPTED: Final = {each.name for each in fields(Options)} | {"tracer_provider", "meter_provider"}


class _Process:
    """What is instrumented in this process, whoever asked for it. `options` None: nothing is."""

    def __init__(self) -> None:
        self.options: dict[str, Any] | None = None
        self.unwrap: Callable[[], None] = do_nothing
        self.brokers: weakref.WeakSet[Broker] = weakref.WeakSet()


_process: Final = _Process()


class DramatiqInstrumentor:
    """For `opentelemetry-instrument`, through the entry point `opentelemetry_instrumentor`.

    Does not import Dramatiq: a process that never does pays nothing.
    """

    @never_raises(do_nothing)
    def instrument(self, **kwargs: Any) -> None:
        """Instrument the brokers of this process; arguments that are not ours are ignored."""
        if _process.options is None:
            _process.options = {name: value for name, value in kwargs.items() if name in _ACCEPTED}
            when_imported("dramatiq.broker", _instrument_module)

    @never_raises(do_nothing)
    def uninstrument(self, **_kwargs: Any) -> None:
        """Restore what `instrument` has changed."""
        _process.options = None
        _process.unwrap()
        for broker in list(_process.brokers):
            _uninstrument_broker(broker)


@never_raises(do_nothing)
def _instrument_module(module: ModuleType) -> None:
    if _process.options is None:
        return
    _process.unwrap = wrap(module.Broker, "__init__", _init)
    if module.global_broker is not None:
        _instrument_broker(module.global_broker)


def _init(
    init: Callable[..., None], broker: Broker, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """`Broker.__init__`: the brokers of the package have no public hook for a default of ours."""
    init(*args, **kwargs)
    _instrument_broker(broker)


def _instrument_broker(broker: Broker) -> None:
    """Never raises: a bad setting must not keep the application from starting."""
    from otel_queue_plugins.dramatiq.registration import find, instrument

    if _process.options is None or find(broker) is not None:
        return
    try:
        instrument(broker, **_process.options)
        _process.brokers.add(broker)
    except Exception as error:  # noqa: BLE001 - see above
        _log.error("Dramatiq is not instrumented: %s", error)


def _uninstrument_broker(broker: Broker) -> None:
    from otel_queue_plugins.dramatiq.registration import uninstrument

    uninstrument(broker)
    _process.brokers.discard(broker)
