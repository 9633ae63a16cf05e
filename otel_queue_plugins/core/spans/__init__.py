"""The spans of a message: send, process and settle, with their attributes and links."""
