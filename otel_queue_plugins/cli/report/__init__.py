"""The command `otel-queue report`."""
