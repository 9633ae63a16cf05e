"""Log lines about export: one at the start, and one for each failure, with cause and remedy."""
