"""The command `otel-queue doctor`: what is wrong with a set-up, and the line to change."""
