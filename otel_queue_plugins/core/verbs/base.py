"""The state that all verbs share."""

from __future__ import annotations

from collections.abc import Callable

from otel_queue_plugins.core.carrier.correlation import Correlation
from otel_queue_plugins.core.connection import Connection
from otel_queue_plugins.core.messages import Route
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.route_templates import RouteTemplate


class VerbsBase:
    """What `QueueTelemetry` sets in its constructor."""

    framework: str
    options: Options
    wants_arguments: bool
    """Whether messages and deliveries are to have the arguments of their task."""
    _correlation: Correlation | None
    _clock: Callable[[], int]
    _connection: Connection
    _template_of: Callable[[Route], RouteTemplate]

    def connect(self) -> bool:
        """Set up and use the providers now, instead of with the first message.

        Returns:
            Whether telemetry is recorded: False while no provider is set, or all discard what
            they get.
        """
        return self._connection.is_open or self._connection.connect()
