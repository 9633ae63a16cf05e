"""A worker's state over HTTP: `/stats`, `/metrics`, `/livez`, `/readyz`, for all its processes.

Adapters import this only where it was asked for. Importing it imports neither a server nor
prometheus_client.
"""
