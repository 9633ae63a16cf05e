"""What a message is, how it is traced and measured. Knows no framework."""
