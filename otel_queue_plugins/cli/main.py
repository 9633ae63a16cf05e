"""The command `otel-queue`."""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from types import FrameType
from typing import NoReturn

from otel_queue_plugins.cli.completion import arguments as completion_arguments
from otel_queue_plugins.cli.dashboards import arguments as dashboards_arguments
from otel_queue_plugins.cli.demo import arguments as demo_arguments
from otel_queue_plugins.cli.doctor import arguments as doctor_arguments
from otel_queue_plugins.cli.queues import commands as queue_commands
from otel_queue_plugins.cli.report import arguments as report_arguments
from otel_queue_plugins.cli.tail import arguments as tail_arguments
from otel_queue_plugins.cli.top import arguments as top_arguments
from otel_queue_plugins.cli.workers import arguments as workers_arguments
from otel_queue_plugins.core.settings.problems import without_secrets
from otel_queue_plugins.version import VERSION

_DEMO = "demo"
_TOP = "top"
_NEEDED = {_DEMO: ("rich", _DEMO), _TOP: ("textual", _TOP)}
_USAGE = 2


class _Parser(ArgumentParser):
    """Its errors are one line without passwords."""

    def error(self, message: str) -> NoReturn:
        text = without_secrets(message)
        self.exit(_USAGE, f"{self.prog}: {text} ({self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code.

    0 done, 1 something is wrong with what was looked at, 2 wrong usage, 3 the broker cannot be
    reached, 4 refused and nothing changed, 130 interrupted.
    """
    parser = make_parser()
    parsed = parser.parse_args(arguments)
    if parsed.command is None:
        parser.print_help(sys.stderr)
        return _USAGE
    if parsed.command == "report":
        from otel_queue_plugins.cli.report.command import report

        return report(parsed)
    if parsed.command == "dashboards":
        from otel_queue_plugins.cli.dashboards.command import dashboards

        return dashboards(parsed)
    if parsed.command == "completion":
        shell = import_module(f"otel_queue_plugins.cli.completion.{parsed.shell}")
        sys.stdout.write(shell.script(parser))
        return 0
    return _run(parsed)


def make_parser() -> ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(
        prog="otel-queue", description="OpenTelemetry for Celery and Dramatiq, on the command line."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    queue_commands.add(commands)
    doctor_arguments.add(commands)
    demo_arguments.add_arguments(
        commands.add_parser(
            _DEMO,
            help="start a broker, a worker and a web process, and show their traces",
            description="Start a broker, a worker and a web process that use this package as any "
            "app would, and show the traces and metrics they send.",
            epilog=demo_arguments.EXAMPLES,
            formatter_class=RawDescriptionHelpFormatter,
        )
    )
    report_arguments.add_arguments(
        commands.add_parser(
            "report",
            help="report the state of queues as metrics",
            description="Look at queues again and again, and export their depth and age as "
            "metrics, as OTEL_* say.",
            epilog=report_arguments.EXAMPLES,
            formatter_class=RawDescriptionHelpFormatter,
        )
    )
    tail_arguments.add_arguments(
        commands.add_parser(
            "tail",
            help="show the traces of any app, as they come",
            description="Take OTLP in on this machine, and show each trace as a tree as soon as "
            "it is complete, or nothing more of it came for two seconds. Start your app with "
            "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318.",
            epilog=tail_arguments.EXAMPLES,
            formatter_class=RawDescriptionHelpFormatter,
        )
    )
    workers_arguments.add_arguments(
        commands.add_parser(
            "workers",
            help="the workers that run this package",
            description="Show the workers that run this package: what they run, how long, and "
            "what became of their telemetry.",
            epilog=workers_arguments.EXAMPLES,
            formatter_class=RawDescriptionHelpFormatter,
        )
    )
    top_arguments.add_arguments(
        commands.add_parser(
            _TOP,
            help="queues, workers, messages and traces on a full screen",
            description="Show queues and workers on a full screen, look into a queue, and into a "
            "message and its trace. Nothing is changed without --write.",
            epilog=top_arguments.EXAMPLES,
            formatter_class=RawDescriptionHelpFormatter,
        )
    )
    dashboards_arguments.add_arguments(
        commands.add_parser(
            "dashboards",
            help="write dashboards and alerts for your backend",
            description="Write dashboards and alert rules for Grafana, Prometheus, Datadog and "
            "Honeycomb into a directory. They show what this package exports.",
            epilog=dashboards_arguments.EXAMPLES,
            formatter_class=RawDescriptionHelpFormatter,
        )
    )
    completion_arguments.add_arguments(
        commands.add_parser(
            "completion",
            help="print a script that completes commands and options in your shell",
            description="Print a script for your shell. It completes commands, options and "
            "their choices.",
            epilog=completion_arguments.EXAMPLES,
            formatter_class=RawDescriptionHelpFormatter,
        )
    )
    return parser


def _run(parsed: Namespace) -> int:
    needed, extra = _NEEDED.get(parsed.command, ("rich", "cli"))
    if not find_spec(needed):
        line = f"{needed} is not installed: pip install 'otel-queue-plugins[{extra}]'"
        print(f"otel-queue: {line}", file=sys.stderr)  # noqa: T201
        return 1 if extra == _DEMO else _USAGE
    signal.signal(signal.SIGTERM, _stop)
    if parsed.command == _DEMO:
        from otel_queue_plugins.cli.demo.command import demo

        return demo(parsed)
    if parsed.command == "tail":
        from otel_queue_plugins.cli.tail.command import tail

        return tail(parsed)
    from otel_queue_plugins.cli.queues.run import guarded, run

    if parsed.command == _TOP:
        from otel_queue_plugins.cli.top.command import top

        return guarded(lambda: top(parsed))
    return run(parsed)


def _stop(number: int, _frame: FrameType | None) -> None:
    """End like an interrupted program, so that everything that was started is stopped."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
