"""What the parts of the plugin use in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from otel_queue_plugins.celery.main_process.exit_times import ExitTimes
from otel_queue_plugins.celery.routes import Routes
from otel_queue_plugins.core.telemetry import QueueTelemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Collaborators:
    """One of each for a plugin.

    Attributes:
        telemetry: The verbs.
        routes: The routes of all apps.
        covers: Returns whether messages of an app are traced.
        is_pool_process: Returns whether this is a pool process, whose death its parent reports.
        exit_times: Where a pool process writes that it leaves a delivery to its parent.
    """

    telemetry: QueueTelemetry
    routes: Routes
    covers: Callable[[Any], bool]
    is_pool_process: Callable[[], bool]
    exit_times: ExitTimes
