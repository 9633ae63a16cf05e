"""The completion of `otel-queue` in a shell."""
