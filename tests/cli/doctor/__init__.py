"""`otel-queue doctor` on set-ups that are broken in one way each."""
