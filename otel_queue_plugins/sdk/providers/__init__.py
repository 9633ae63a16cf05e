"""The global providers: whose they are, when ours are built, and of what."""
