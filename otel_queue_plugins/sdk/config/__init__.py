"""Read `OTEL_*` and `OTEL_QUEUE_*` into a plan of what to build, and report what is wrong."""
