"""Queues on Redis, read with a plain client of our own."""
