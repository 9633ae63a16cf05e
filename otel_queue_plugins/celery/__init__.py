"""Traces and metrics for Celery apps: `from otel_queue_plugins.celery import instrument`."""

from __future__ import annotations

from otel_queue_plugins.core.extras import required

with required("Celery", "celery"):
    from otel_queue_plugins.celery.plugin import CeleryPlugin, instrument, uninstrument

__all__ = ["CeleryPlugin", "instrument", "uninstrument"]
