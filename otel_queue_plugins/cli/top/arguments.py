"""The options of `otel-queue top`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Final

from otel_queue_plugins.cli.queues import arguments, values
from otel_queue_plugins.cli.tail.arguments import port
from otel_queue_plugins.cli.workers.arguments import add_http

EXAMPLES: Final = """examples:
  otel-queue top -A shop.tasks
  otel-queue top -B shop.tasks --http 9191 --interval 5s
  otel-queue top --url redis://localhost --framework celery --receive 4318 --write
  otel-queue top -A shop.tasks --backend-url http://localhost:16686"""
INTERVAL_S: Final = 2.0
LIMIT: Final = 100


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--interval",
        type=values.positive_duration,
        default=INTERVAL_S,
        metavar="TIME",
        help="look again after this time: 500ms, 2s, 1m (default: %(default)g s)",
    )
    parser.add_argument(
        "--write", action="store_true", help="allow to requeue and to purge, after a question"
    )
    parser.add_argument(
        "--receive",
        type=port,
        metavar="PORT",
        help="take OTLP over HTTP in, on this machine alone, and show those traces",
    )
    add_http(parser)
    arguments.add_backend(parser)
    arguments.add_queues(parser)
    arguments.add_look(parser)
    parser.set_defaults(limit=LIMIT)
    arguments.add_audit(parser)
    arguments.add_source(parser)
    arguments.add_timeout(parser)
