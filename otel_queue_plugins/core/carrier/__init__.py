"""What a message carries from the sender to the worker: context, baggage and envelope."""
