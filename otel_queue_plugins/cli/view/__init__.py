"""Telemetry as text: trees of traces, tables of metrics."""
