"""Providers from `OTEL_*`: set-up, forks, endings, logs. Knows no framework.

Importing this imports neither the OpenTelemetry SDK nor an exporter.
"""

from __future__ import annotations

from otel_queue_plugins.sdk.flushing import flush
from otel_queue_plugins.sdk.logs import enable_log_correlation
from otel_queue_plugins.sdk.scraping import know_siblings
from otel_queue_plugins.sdk.setup import ensure_providers, set_up_on_first_use
from otel_queue_plugins.sdk.validation import ConfigurationError, validate

__all__ = [
    "ConfigurationError",
    "enable_log_correlation",
    "ensure_providers",
    "flush",
    "know_siblings",
    "set_up_on_first_use",
    "validate",
]
