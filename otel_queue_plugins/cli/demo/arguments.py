"""The arguments of `otel-queue demo`, checked."""

from __future__ import annotations

import math
from argparse import ArgumentParser, ArgumentTypeError
from typing import Final
from urllib.parse import urlsplit

EXAMPLES: Final = """examples:
  otel-queue demo
  otel-queue demo dramatiq --broker-url redis://localhost
  otel-queue demo celery --otlp-endpoint http://localhost:4318"""

_BROKERS = ("redis", "rediss", "amqp", "amqps")
_ENDPOINTS = ("http", "https")
_TIMEOUT_S = 25.0


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of the demo."""
    parser.add_argument(
        "framework",
        nargs="?",
        choices=("celery", "dramatiq"),
        help="which one to show (default: the first that is installed)",
    )
    parser.add_argument(
        "--broker-url",
        type=_broker_url,
        metavar="URL",
        help="use this Redis or RabbitMQ (redis://, amqp://) instead of the embedded broker",
    )
    parser.add_argument(
        "--otlp-endpoint",
        type=_endpoint,
        metavar="URL",
        help="send everything to this OTLP/HTTP endpoint as well (http://host:4318); headers "
        "come from OTEL_EXPORTER_OTLP_HEADERS",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=_TIMEOUT_S,
        metavar="SECONDS",
        help="give up after this time (default: %(default)g)",
    )


def _broker_url(text: str) -> str:
    return _url(text, _BROKERS)


def _endpoint(text: str) -> str:
    return _url(text, _ENDPOINTS)


def _url(text: str, schemes: tuple[str, ...]) -> str:
    choices = ", ".join(f"{scheme}://" for scheme in schemes)
    try:
        parts = urlsplit(text)
        valid = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ArgumentTypeError(f"{text!r} is not a URL with a host that starts with {choices}")
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds
