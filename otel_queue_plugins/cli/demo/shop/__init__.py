"""The app of the demo: a small shop, on either framework."""
