"""The command `otel-queue dashboards`: dashboards and alerts for the telemetry of this package."""
