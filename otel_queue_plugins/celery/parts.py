"""The parts of the plugin: the objects whose methods are wrappers and receivers of signals."""

from __future__ import annotations

from collections.abc import Mapping

from otel_queue_plugins.celery.batches import Batches
from otel_queue_plugins.celery.coexistence import OtherTracers
from otel_queue_plugins.celery.collaborators import Collaborators
from otel_queue_plugins.celery.deliveries import Deliveries
from otel_queue_plugins.celery.errbacks import Errbacks
from otel_queue_plugins.celery.main_process.batch_flushes import BatchFlushes
from otel_queue_plugins.celery.main_process.fetches import Fetches
from otel_queue_plugins.celery.main_process.receipts import Receipts
from otel_queue_plugins.celery.main_process.refused_messages import RefusedMessages
from otel_queue_plugins.celery.main_process.request_classes import RequestClasses
from otel_queue_plugins.celery.main_process.requests import Requests
from otel_queue_plugins.celery.main_process.settlements import Settlements
from otel_queue_plugins.celery.sends import Sends
from otel_queue_plugins.celery.worker_http import WorkerHttp
from otel_queue_plugins.celery.workers import Workers
from otel_queue_plugins.celery.workflow import Workflows


class Parts:
    """One of each. `relations` is as for `Sends`."""

    def __init__(
        self,
        shared: Collaborators,
        *,
        workers: Workers,
        other_tracers: OtherTracers,
        relations: Mapping[str, str],
    ) -> None:
        self.shared = shared
        self.workers = workers
        self.other_tracers = other_tracers
        self.worker_http = WorkerHttp(shared.telemetry)
        self.sends = Sends(shared, relations)
        self.workflows = Workflows(shared.covers)
        self.deliveries = Deliveries(shared)
        self.batches = Batches(shared)
        self.errbacks = Errbacks(shared)
        self.receipts = Receipts(shared.telemetry, shared.covers)
        self.requests = Requests(shared)
        self.fetches = Fetches(shared.telemetry)
        settlements = Settlements(shared.telemetry, self.requests.pool_deliveries)
        self.refused_messages = RefusedMessages(shared, settlements)
        self.request_classes = RequestClasses(self.requests, self.receipts, settlements)
        self.batch_flushes = BatchFlushes(
            self.receipts, self.requests.pool_deliveries, shared.exit_times
        )
