"""Providers and the propagator of `OTEL_CONFIG_FILE`, made by the SDK's own loader.

They come into being as those from variables do: at the first use. Each process has its own; there
is no relay for exporters of which only the loader knows how they are made.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from inspect import signature
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import propagate
from opentelemetry.propagators import textmap

from otel_queue_plugins.core.carrier import traceparent
from otel_queue_plugins.sdk import global_providers, instance_id
from otel_queue_plugins.sdk.config import declarative, scraping
from otel_queue_plugins.sdk.config.installed import import_or_none
from otel_queue_plugins.sdk.config.reader import Environment
from otel_queue_plugins.sdk.global_providers import lock_of_this_process

if TYPE_CHECKING:
    from opentelemetry.context import Context

logger = logging.getLogger("otel_queue_plugins")

_SECONDS_TO_WAIT: Final = 10.0
_LEVELS: Final = {
    **dict.fromkeys(("trace", "debug"), logging.DEBUG),
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}


def install(signal: str, model: Any) -> Any:
    """Build the provider of `signal`, which is the global one then. Raises what the loader raises.

    The ends of processes are bounded here, so that its own exit handler is taken out.
    """
    _set_log_level(model)
    section = declarative.SECTIONS[signal]
    loader = import_or_none(f"{declarative.LOADER}.file")
    create = getattr(loader, f"create_{section}")
    facts = (
        getattr(model, section),
        loader.create_resource(model.resource),
        model.attribute_limits,
    )
    provider = create(*facts[: len(signature(create).parameters)])  # 0.65b0 takes two
    atexit.unregister(provider.shutdown)
    _identify(provider)
    global_providers.set_global(signal, provider)
    return provider


def use_propagator() -> None:
    """Let the file say at the first use which propagator is the global one.

    A propagator that the application has set by now stays, and so does one that it sets later.
    """
    current = propagate.get_global_textmap()
    if isinstance(current, _AtFirstUse) or global_providers.has_providers():
        return
    if traceparent.is_standard(current) or Environment(os.environ).value("OTEL_PROPAGATORS"):
        propagate.set_global_textmap(_AtFirstUse(current))


class _AtFirstUse(textmap.TextMapPropagator):
    """Takes the place of the file's propagator, which cannot be made without the SDK."""

    def __init__(self, otherwise: textmap.TextMapPropagator) -> None:
        self._otherwise = otherwise
        self._made: textmap.TextMapPropagator | None = None
        self._maker = (0, 0)  # a process and a thread

    def extract(
        self,
        carrier: Any,
        context: Context | None = None,
        getter: textmap.Getter[Any] = textmap.default_getter,
    ) -> Context:
        """As the file's."""
        return self._found().extract(carrier, context, getter)

    def inject(
        self,
        carrier: Any,
        context: Context | None = None,
        setter: textmap.Setter[Any] = textmap.default_setter,
    ) -> None:
        """As the file's."""
        self._found().inject(carrier, context, setter)

    @property
    def fields(self) -> set[str]:
        """As the file's."""
        return self._found().fields

    def _found(self) -> textmap.TextMapPropagator:
        lock = lock_of_this_process()
        if self._made is None and lock.acquire(timeout=_SECONDS_TO_WAIT):
            try:
                this = os.getpid(), threading.get_ident()
                if self._made is None and self._maker != this:  # the loader itself may send
                    self._maker = this
                    self._made = self._make()
            finally:
                lock.release()
        return self._made or self._otherwise

    def _make(self) -> textmap.TextMapPropagator:
        model = declarative.load(Environment(os.environ))
        if model is None or model.disabled:
            return self._otherwise
        try:
            _set_log_level(model)
            loader = import_or_none(f"{declarative.LOADER}.file")
            made: textmap.TextMapPropagator = loader.create_propagator(model.propagator)
        except Exception as error:  # noqa: BLE001 - it is in a send; the message leaves
            line = "%s: its propagator cannot be made: %s"
            logger.error(line, declarative.VARIABLE, scraping.describe(error))  # noqa: TRY400
            made = self._otherwise
        if propagate.get_global_textmap() is self:
            propagate.set_global_textmap(made)
        return made


def _set_log_level(model: Any) -> None:
    """The level of OpenTelemetry's own loggers: `debug2` is DEBUG."""
    if model.log_level is not None:
        name = str(model.log_level.value).rstrip("0123456789")
        logging.getLogger("opentelemetry").setLevel(_LEVELS.get(name, logging.INFO))


def _identify(provider: Any) -> None:
    """Give each process an id of its own: no series of metrics has two writers."""
    from opentelemetry.sdk.resources import ServiceInstanceIdResourceDetector

    from otel_queue_plugins.sdk.process import fork_repair

    attributes = fork_repair.resource_of(provider).attributes
    given = instance_id.given_by_user(attributes)
    if given is not None and instance_id.is_child():
        fork_repair.rename(provider, instance_id.of_child(given))
    elif instance_id.KEY not in attributes:
        generated = ServiceInstanceIdResourceDetector().detect().attributes[instance_id.KEY]
        fork_repair.rename(provider, str(generated))
