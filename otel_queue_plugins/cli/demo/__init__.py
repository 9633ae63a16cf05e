"""`otel-queue demo`: a worker and a web process, and the traces they make."""
