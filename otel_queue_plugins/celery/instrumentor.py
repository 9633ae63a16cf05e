"""What `opentelemetry-instrument` finds by entry point."""

from __future__ import annotations

import logging
from typing import Any

_log = logging.getLogger(__name__)


class CeleryInstrumentor:
    """Instruments every Celery app of the process, built before or after."""

    def instrument(self, **_: Any) -> None:
        """Never raises: one bad setting must not keep other instrumentations from loading."""
        from otel_queue_plugins.celery import plugin

        try:
            plugin.instrument()
        except Exception as error:  # noqa: BLE001 - see above
            _log.error("Celery is not instrumented: %s", error)

    def uninstrument(self, **_: Any) -> None:
        """Take back what `instrument` did."""
        from otel_queue_plugins.celery import plugin

        plugin.uninstrument()
