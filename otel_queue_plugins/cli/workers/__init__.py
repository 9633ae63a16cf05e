"""The command `otel-queue workers`: the workers that run this package."""
