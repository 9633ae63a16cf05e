"""The checks of `otel-queue doctor`, a module for each group of them."""
