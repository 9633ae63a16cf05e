"""Forks and ends of processes."""
