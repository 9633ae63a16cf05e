"""Make reporters, for workers and for the command line."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.metrics import MeterProvider

from otel_queue_plugins.brokers import opening
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.core.safety import never_raises
from otel_queue_plugins.core.settings import definitions
from otel_queue_plugins.core.settings.variables import Variables
from otel_queue_plugins.reporting.choice import QueueChoice
from otel_queue_plugins.reporting.gauges import QueueGauges
from otel_queue_plugins.reporting.polling import SHOWN_INTERVALS, Polling
from otel_queue_plugins.reporting.reporter import Reporter
from otel_queue_plugins.sdk.providers import service_metrics
from otel_queue_plugins.sdk.relay import numbers

_LEAST_SECONDS: Final = 0.1
_MOST_SECONDS: Final = 3600.0

_log = logging.getLogger("otel_queue_plugins")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`interval` is in seconds; no `globs` choose what is consumed."""

    interval: float
    globs: Sequence[str]
    leases: bool

    @classmethod
    def from_environ(cls) -> Settings:
        """The settings in `OTEL_QUEUE_STATE_*`; those that are wrong were reported at the start."""
        variables = Variables(os.environ)
        return cls(
            interval=bounded(definitions.read(variables, definitions.STATE_INTERVAL)),
            globs=definitions.read(variables, definitions.STATE_QUEUES),
            leases=definitions.read(variables, definitions.STATE_LEASE),
        )


def bounded(interval: float) -> float:
    """An interval (s) that neither keeps a broker busy nor is longer than an hour."""
    return min(max(interval, _LEAST_SECONDS), _MOST_SECONDS)


def _nothing() -> Reporter | None:
    return None


@never_raises(_nothing)
def start_for_celery(
    app: Any, consumed: Callable[[], Iterable[str]], provider: MeterProvider
) -> Reporter | None:
    """Report the queues of `app`, of which this worker consumes `consumed`. Never raises.

    Returns None where metrics are exported nowhere.
    """
    return _start(
        lambda: opening.reader_of_celery(app), consumed, lambda: list(app.amqp.queues), provider
    )


@never_raises(_nothing)
def start_for_dramatiq(
    broker: Any, consumed: Callable[[], Iterable[str]], provider: MeterProvider
) -> Reporter | None:
    """Report the queues of `broker`, of which this worker consumes `consumed`. Never raises.

    Returns None where metrics are exported nowhere.
    """

    def declared() -> Iterable[str]:
        names: set[str] = broker.get_declared_queues() - broker.get_declared_delay_queues()
        return names

    return _start(lambda: opening.reader_of_dramatiq(broker), consumed, declared, provider)


def _start(
    open_reader: Callable[[], QueueReader],
    consumed: Callable[[], Iterable[str]],
    declared: Callable[[], Iterable[str]],
    provider: MeterProvider,
) -> Reporter | None:
    service = service_metrics.service_metrics(provider)
    if service is None:
        _log.warning(
            "otel_queue_plugins: OTEL_QUEUE_STATE is on, but no exporter of metrics is named "
            "(OTEL_EXPORTER_OTLP_ENDPOINT); the state of queues is not reported"
        )
        return None
    if service.provider is not provider:
        numbers.add_service_provider(service.provider)  # for those who read the worker's own port
    settings, reader = Settings.from_environ(), open_reader()
    gauges, polling = polling_of(
        lambda: reader, QueueChoice(consumed, declared, settings.globs), settings
    )
    reporter = Reporter(polling, gauges, service)
    reporter.start()
    return reporter


def polling_of(
    open_reader: Callable[[], QueueReader],
    queues: Callable[[], Sequence[str]],
    settings: Settings,
) -> tuple[QueueGauges, Polling]:
    """The gauges, and what keeps them up to date."""
    gauges = QueueGauges(settings.interval * SHOWN_INTERVALS)
    polling = Polling(
        open_reader, queues, gauges, interval=settings.interval, leases=settings.leases
    )
    return gauges, polling
