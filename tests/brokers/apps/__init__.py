"""Applications that run in the workers and producers of the broker tests."""
