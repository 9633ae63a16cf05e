"""The options of `otel-queue doctor`."""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any, Final

from otel_queue_plugins.cli.queues import arguments

_EXAMPLES: Final = """examples:
  otel-queue doctor
  otel-queue doctor -A shop.tasks
  otel-queue doctor -B shop.tasks --json
  otel-queue doctor -A shop.tasks --probe shop.tasks.ping --timeout 30s
  otel-queue doctor --url redis://localhost --framework celery --offline"""


def add(commands: Any) -> None:
    """Add the command to those of `otel-queue`."""
    parser: ArgumentParser = commands.add_parser(
        "doctor",
        help="what is wrong with your set-up, and the line to change",
        description="Check what this environment, and your app in it, would do: settings, backend, "
        "broker, queues, workers. Run it where the worker runs, started in the same way.",
        epilog=_EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--offline",
        action="store_true",
        help="connect to nothing, neither to the backend nor to the broker",
    )
    parser.add_argument(
        "--probe",
        metavar="TASK",
        help="send this task of your app, without arguments, and wait for it",
    )
    arguments.add_queues(parser)
    arguments.add_source(parser, required=False)
    arguments.add_output(parser)
