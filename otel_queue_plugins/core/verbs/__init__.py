"""The methods of `QueueTelemetry`, by moment of a message's life."""
