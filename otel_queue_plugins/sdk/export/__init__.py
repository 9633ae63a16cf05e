"""Build the SDK's exporters from a plan, and count and report what was not exported."""
