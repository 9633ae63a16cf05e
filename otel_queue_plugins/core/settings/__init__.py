"""Read settings from the environment (`OTEL_*`, `OTEL_QUEUE_*`), and report wrong ones."""
