"""Providers from `OTEL_*`: set-up, forks, exits, logs. Knows no framework.

Importing this imports neither the OpenTelemetry SDK nor an exporter.
"""

from __future__ import annotations

from otel_queue_plugins.sdk.config.scraping import set_siblings_check
from otel_queue_plugins.sdk.logs.correlation import enable_log_correlation
from otel_queue_plugins.sdk.logs.privacy import in_use as log_privacy
from otel_queue_plugins.sdk.logs.trace_url_label import enable_log_trace_url
from otel_queue_plugins.sdk.process.flushing import flush
from otel_queue_plugins.sdk.providers.setup import ensure_providers, set_up_on_first_use
from otel_queue_plugins.sdk.validation import ConfigurationError, validate

__all__ = [
    "ConfigurationError",
    "enable_log_correlation",
    "enable_log_trace_url",
    "ensure_providers",
    "flush",
    "log_privacy",
    "set_siblings_check",
    "set_up_on_first_use",
    "validate",
]
