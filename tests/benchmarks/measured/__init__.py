"""What runs inside a measured process; needs only the standard library and the peer under test."""
