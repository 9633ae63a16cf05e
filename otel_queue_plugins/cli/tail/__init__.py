"""The command `otel-queue tail`: the traces of any app, as they come."""
