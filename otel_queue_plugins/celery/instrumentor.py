"""The entry point that `opentelemetry-instrument` calls."""

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
    """Instruments every Celery app of the process, made before or after."""

    def instrument(self, **kwargs: Any) -> None:
        """Call `otel_queue_plugins.celery.instrument`; log its errors instead of raising them.

        One wrong setting must not keep other instrumentations from loading.

        Args:
            **kwargs: Arguments of `instrument` except `app`. Others are ignored.
        """
        accepted = {name: value for name, value in kwargs.items() if name in _ACCEPTED}
        try:
            from otel_queue_plugins.celery import plugin

            plugin.instrument(**accepted)
        except Exception as error:  # noqa: BLE001 - see the docstring
            _log.error("Celery is not instrumented: %s", error)

    def uninstrument(self, **_: Any) -> None:
        """Call `otel_queue_plugins.celery.uninstrument`; arguments are ignored."""
        from otel_queue_plugins.celery import plugin

        plugin.uninstrument()
