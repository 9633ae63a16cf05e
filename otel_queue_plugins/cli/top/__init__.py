"""The command `otel-queue top`: queues, workers, messages and traces on a full screen."""
