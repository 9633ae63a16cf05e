"""A thin layer over the OpenTelemetry API."""
