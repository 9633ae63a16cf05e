"""Traces and metrics for a queue that is neither Celery nor Dramatiq, and spans of your own."""
