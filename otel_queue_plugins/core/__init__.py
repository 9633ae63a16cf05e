"""What a message is, how it is traced and measured. Independent of any framework."""
