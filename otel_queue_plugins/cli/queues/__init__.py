"""Commands of `otel-queue` that show and change queues: queues, peek, show, requeue, purge."""
