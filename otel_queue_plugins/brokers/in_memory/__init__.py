"""Queues inside this process: for tests, and for brokers that nothing else can reach."""
