"""From a plan to the SDK's exporters, and what became of each export."""
