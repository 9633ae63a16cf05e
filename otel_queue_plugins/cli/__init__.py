"""The command line: `otel-queue`."""
