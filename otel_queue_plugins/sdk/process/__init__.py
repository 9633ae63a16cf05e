"""Forks, exits and flushes of processes."""
