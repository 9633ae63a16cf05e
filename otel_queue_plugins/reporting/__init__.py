"""Report the state of queues as metrics: from workers, and from `otel-queue report`."""
