"""What goes wrong with a broker. The texts have what, where and what to do; never a password."""

from __future__ import annotations


class BrokerError(Exception):
    """The broker cannot be reached in time, or it answered with an error."""


class RefusedError(Exception):
    """Not done, and nothing was changed: the text is the reason."""
