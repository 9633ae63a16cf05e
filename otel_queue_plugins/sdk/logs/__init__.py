"""Log records: which trace and task they belong to, and their way to the logger provider."""
