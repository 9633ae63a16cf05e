"""The table of all checks, in the order in which they are shown."""

from __future__ import annotations

from typing import Final

from otel_queue_plugins.cli.doctor.checks import (
    backend,
    celery_app,
    dramatiq_broker,
    endpoints,
    propagation,
    providers,
    queues,
    settings,
    temporality,
    tls,
    versions,
    workers,
)
from otel_queue_plugins.cli.doctor.findings import Check

CHECKS: Final = (
    Check("versions", versions.versions),
    Check("opentelemetry_release", versions.opentelemetry_release),
    Check("variable_names", settings.variable_names),
    Check("settings", settings.settings),
    Check("providers", providers.providers),
    Check("service", providers.service),
    Check("sampler", providers.sampler),
    Check("propagators", propagation.propagators),
    Check("instrumented", celery_app.instrumented),
    Check("instrumented", dramatiq_broker.instrumented),
    Check("middleware_order", dramatiq_broker.middleware_order),
    Check("other_tracers", celery_app.other_tracers),
    Check("other_tracers", dramatiq_broker.other_tracers),
    Check("pool", celery_app.pool),
    Check("endpoint", endpoints.endpoint),
    Check("headers", endpoints.headers),
    Check("tls", tls.tls),
    Check("temporality", temporality.temporality),
    Check("backend", backend.backend),
    Check("broker", queues.broker),
    Check("workers", workers.workers),
    Check("queues", queues.queues),
)
