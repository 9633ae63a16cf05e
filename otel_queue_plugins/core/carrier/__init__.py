"""What travels with a message: trace context, baggage and the envelope."""
