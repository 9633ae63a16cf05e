"""What a span says: from the send, over each delivery, to the settlement."""
