"""OpenTelemetry traces and metrics for Celery and Dramatiq.

Importing this package imports neither a framework nor the OpenTelemetry SDK; import
`otel_queue_plugins.celery` or `otel_queue_plugins.dramatiq` for the framework you use.
"""

import os

if os.environ.get("OTEL_PROPAGATORS"):
    # Before anything below can import `opentelemetry.propagate`, which raises on an unknown name.
    from otel_queue_plugins.sdk import propagators

    propagators.guard(os.environ)
