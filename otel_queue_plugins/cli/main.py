"""The command `otel-queue`."""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from importlib.util import find_spec
from types import FrameType

from otel_queue_plugins.cli.demo import arguments as demo_arguments
from otel_queue_plugins.cli.report import arguments as report_arguments
from otel_queue_plugins.version import VERSION

_INSTALL = "pip install 'otel-queue-plugins[demo]'"
_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if parsed.command is None:
        parser.print_help(sys.stderr)
        return _USAGE
    if parsed.command == "report":
        from otel_queue_plugins.cli.report.command import report

        return report(parsed)
    return _demo(parsed)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="otel-queue", description="OpenTelemetry for Celery and Dramatiq, on the command line."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    demo_arguments.add_arguments(
        commands.add_parser(
            "demo",
            help="start a broker, a worker and a web process, and show their traces",
            description="Start a broker, a worker and a web process that use this package as any "
            "app would, and show the traces and metrics they send.",
        )
    )
    report_arguments.add_arguments(
        commands.add_parser(
            "report",
            help="report the state of queues as metrics",
            description="Look at queues again and again, and export their depth and age as "
            "metrics, as OTEL_* say.",
        )
    )
    return parser


def _demo(parsed: Namespace) -> int:
    if not find_spec("rich"):
        print(f"otel-queue: rich is not installed: {_INSTALL}", file=sys.stderr)  # noqa: T201
        return 1
    from otel_queue_plugins.cli.demo.command import demo

    signal.signal(signal.SIGTERM, _stop)
    return demo(parsed)


def _stop(number: int, _frame: FrameType | None) -> None:
    """End like an interrupted program, so that everything that was started is stopped."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
