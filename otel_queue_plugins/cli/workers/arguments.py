"""The options of `otel-queue workers`."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, _ActionsContainer
from typing import Final

from otel_queue_plugins.cli.queues import arguments, values
from otel_queue_plugins.core.settings.kinds import Address, HostPort

EXAMPLES: Final = """examples:
  otel-queue workers -A shop.tasks
  otel-queue workers --url redis://localhost --json
  otel-queue workers --http 9464 --http worker-2:9464"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    group = parser.add_argument_group("which workers")
    which = group.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "-A",
        "--app",
        metavar="MODULE[:ATTR]",
        help="those of a Celery app, as `celery -A` finds it",
    )
    which.add_argument("--url", type=values.broker_url, help="Celery's on a broker; imports no app")
    add_http(which)
    arguments.add_output(parser)


def add_http(parser: _ActionsContainer) -> None:
    """Add the addresses of workers that serve their state."""
    parser.add_argument(
        "--http",
        action="append",
        default=[],
        type=_address,
        metavar="[HOST:]PORT",
        help="a worker, of either framework, that serves OTEL_QUEUE_HTTP there (repeatable)",
    )


def _address(text: str) -> HostPort:
    try:
        return Address().check(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
