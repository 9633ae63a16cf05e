"""The global providers: find out whose they are, and build ours when they are first needed."""
