"""From `OTEL_*` to a plan of what to build, and the problems found on the way."""
