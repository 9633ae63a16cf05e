"""What may leave a process: redaction, lists of attributes, values from arguments."""
