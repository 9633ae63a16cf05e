"""Orders, and the tasks that work on them."""
