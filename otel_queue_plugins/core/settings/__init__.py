"""One reader of the environment, for `OTEL_*` and `OTEL_QUEUE_*`, and what it reports as wrong."""
