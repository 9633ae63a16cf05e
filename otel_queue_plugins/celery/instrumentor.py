"""What `opentelemetry-instrument` finds by entry point."""

from __future__ import annotations

import logging
from dataclasses import fields
from typing import Any, Final

from otel_queue_plugins.core.options import Options

_log = logging.getLogger("otel_queue_plugins")

_ACCEPTED: Final = {
    *(each.name for each in fields(Options)),
    "relations",
    "tracer_provider",
    "meter_provider",
}


class CeleryInstrumentor:
    """Instruments every Celery app of the process, built before or after."""

    def instrument(self, **kwargs: Any) -> None:
        """Instrument them as `instrument()` does; arguments that are not ours are ignored.

        Never raises: one bad setting must not keep other instrumentations from loading.
        """
        accepted = {name: value for name, value in kwargs.items() if name in _ACCEPTED}
        try:
            from otel_queue_plugins.celery import plugin

            plugin.instrument(**accepted)
        except Exception as error:  # noqa: BLE001 - see above
            _log.error("Celery is not instrumented: %s", error)

    def uninstrument(self, **_: Any) -> None:
        """Take back what `instrument` did."""
        from otel_queue_plugins.celery import plugin

        plugin.uninstrument()
