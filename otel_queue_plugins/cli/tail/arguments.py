"""The options of `otel-queue tail`, checked."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Final

from otel_queue_plugins.cli.queues import values

EXAMPLES: Final = """examples:
  otel-queue tail
  otel-queue tail --errors --task 'shop.*'
  otel-queue tail --slower 500ms --forward http://collector:4318
  otel-queue tail --once 1 --timeout 30s --json"""
_MOST_PORTS: Final = 65535


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--port",
        type=port,
        default=4318,
        metavar="N",
        help="where OTLP over HTTP is taken, on this machine alone (default: %(default)s)",
    )
    parser.add_argument(
        "--grpc-port",
        type=port,
        default=4317,
        metavar="N",
        help="where OTLP over gRPC is taken, 0 for nowhere (default: %(default)s)",
    )
    group = parser.add_argument_group("which traces")
    group.add_argument("--service", metavar="GLOB", help="those with a service of such a name")
    group.add_argument("--task", metavar="GLOB", help="those with a task of such a name")
    group.add_argument("--errors", action="store_true", help="those in which something failed")
    group.add_argument(
        "--slower",
        type=values.positive_duration,
        metavar="TIME",
        help="those with a task that ran so long, or longer: 500ms, 10s, 1m",
    )
    parser.add_argument(
        "--forward", type=values.api_url, metavar="URL", help="pass everything on, over OTLP/HTTP"
    )
    parser.add_argument(
        "--once", type=values.count, metavar="N", help="end when so many traces were shown"
    )
    parser.add_argument(
        "--timeout",
        type=values.positive_duration,
        metavar="S",
        help="end after this time; the exit code is 1 if --once was not reached",
    )
    parser.add_argument("--metrics", action="store_true", help="show metrics at the end")
    parser.add_argument("--json", action="store_true", help="write one JSON document a line")
    parser.add_argument("--quiet", action="store_true", help="write errors only to stderr")


def port(text: str) -> int:
    """A port; 0 is any, or none."""
    if not (text.isascii() and text.isdigit() and int(text[:6]) <= _MOST_PORTS):
        raise ArgumentTypeError(f"{text!r} is not a port from 0 to {_MOST_PORTS}")
    return int(text)
