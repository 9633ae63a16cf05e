"""OpenTelemetry traces and metrics for Celery and Dramatiq.

Importing this package imports neither a framework nor the OpenTelemetry SDK; import
`otel_queue_plugins.celery` or `otel_queue_plugins.dramatiq` for the framework you use.
"""
