"""What is logged about export: one line at the start, and one for each cause of a failure."""
