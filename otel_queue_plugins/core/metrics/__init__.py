"""The instruments, and what is counted and measured of each message."""
