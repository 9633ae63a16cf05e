"""The options of `otel-queue report`, checked."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Final

from otel_queue_plugins.cli.queues.arguments import add_queues, add_source

EXAMPLES: Final = """examples:
  otel-queue report -A shop.tasks
  otel-queue report --url redis://localhost --framework dramatiq --queue orders --once"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    add_source(parser)
    add_queues(parser)
    parser.add_argument(
        "--interval",
        type=_seconds,
        metavar="S",
        help="seconds between two looks (default: OTEL_QUEUE_STATE_INTERVAL, or 15)",
    )
    parser.add_argument("--once", action="store_true", help="look once, export, and end")
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds
