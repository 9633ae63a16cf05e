"""Log records: add trace and task to them, and hand them to the logger provider."""
