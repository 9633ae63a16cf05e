"""Values of options, checked as they are parsed; an error names the value and what is allowed."""

from __future__ import annotations

import math
import re
from argparse import ArgumentTypeError
from typing import Final

from otel_queue_plugins.brokers.urls import without_password

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?", re.ASCII)
_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)(?:/s)?", re.ASCII)


def duration(text: str) -> float:
    """A time in seconds: `500ms`, `10s`, `10m`, `2h`, `1d`; without a unit it is seconds."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is not a time such as 500ms, 30s, 10m, 2h or 1d")
    return float(match[1]) * _UNITS[match[2] or "s"]


def positive_duration(text: str) -> float:
    """A time above 0, in seconds."""
    seconds = duration(text)
    if not 0 < seconds < math.inf:
        raise ArgumentTypeError(f"{text!r} is not a time above 0")
    return seconds


def rate(text: str) -> float:
    """Messages in a second: `10/s` or `10`."""
    match = _RATE.fullmatch(text)
    if match is None or not float(match[1]) > 0:
        raise ArgumentTypeError(f"{text!r} is not a number of messages in a second, such as 10/s")
    return float(match[1])


def count(text: str) -> int:
    """A whole number above 0."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def broker_url(text: str) -> str:
    """A URL with a scheme."""
    if "://" not in text:
        shown = without_password(text)
        raise ArgumentTypeError(f"{shown!r} is not a URL such as redis://host or amqp://host")
    return text


def api_url(text: str) -> str:
    """The URL of an HTTP API."""
    if not text.startswith(("http://", "https://")):
        shown = without_password(text)
        raise ArgumentTypeError(f"{shown!r} is not a URL that starts with http:// or https://")
    return text
