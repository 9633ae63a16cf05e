"""The parsers of the commands for queues, with examples."""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any, Final

from otel_queue_plugins.cli.queues import arguments, values

_QUEUES: Final = """examples:
  otel-queue queues -A shop.tasks
  otel-queue queues -B shop.tasks --watch 2
  otel-queue queues --url redis://localhost --framework dramatiq --json"""
_PEEK: Final = """examples:
  otel-queue peek orders -A shop.tasks
  otel-queue peek orders -B shop.tasks --state dead --task 'shop.*' --older-than 1h -n 5"""
_SHOW: Final = """examples:
  otel-queue show 7f3c -A shop.tasks
  otel-queue show 7f3c -B shop.tasks --args --open
  otel-queue show 7f3c -A shop.tasks --view --backend-url http://localhost:16686"""
_REQUEUE: Final = """examples:
  otel-queue requeue orders -B shop.tasks --dry-run
  otel-queue requeue orders -B shop.tasks --task charge --rate 10/s --yes"""
_PURGE: Final = """examples:
  otel-queue purge orders -A shop.tasks --dry-run
  otel-queue purge orders -A shop.tasks --task 'shop.report*' --older-than 1h
  otel-queue purge orders -A shop.tasks --undo"""


def add(commands: Any) -> None:
    """Add the commands to those of `otel-queue`."""
    _add_queues(
        _parser(commands, "queues", "a row for each queue: how many messages, how old", _QUEUES)
    )
    _add_peek(_parser(commands, "peek", "the messages of one queue in one state", _PEEK))
    _add_show(_parser(commands, "show", "one message, wherever it is, and its trace", _SHOW))
    _add_requeue(
        _parser(
            commands, "requeue", "give dead letters to the workers again, in their trace", _REQUEUE
        )
    )
    _add_purge(_parser(commands, "purge", "take the messages of one state away", _PURGE))


def _parser(commands: Any, name: str, text: str, examples: str) -> ArgumentParser:
    parser: ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=f"Show {text}."
        if name in {"queues", "peek", "show"}
        else f"{text.capitalize()}.",
        epilog=examples,
        formatter_class=RawDescriptionHelpFormatter,
    )
    return parser


def _add_queues(parser: ArgumentParser) -> None:
    arguments.add_queues(parser)
    parser.add_argument(
        "--watch",
        type=values.positive_duration,
        metavar="S",
        help="look again after so many seconds, until you interrupt it",
    )
    arguments.add_audit(parser)
    arguments.add_source(parser)
    arguments.add_output(parser)


def _add_peek(parser: ArgumentParser) -> None:
    arguments.add_queue(parser)
    arguments.add_state(parser)
    arguments.add_selection(parser)
    arguments.add_look(parser)
    arguments.add_audit(parser)
    arguments.add_source(parser)
    arguments.add_output(parser)


def _add_show(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="the id of a message, or the beginning of one")
    parser.add_argument("--open", action="store_true", help="open its trace in a browser")
    parser.add_argument(
        "--copy", action="store_true", help="put the trace id into the clipboard of the terminal"
    )
    parser.add_argument(
        "--view", action="store_true", help="show its trace here as a tree, out of the backend"
    )
    arguments.add_backend(parser)
    arguments.add_queues(parser)
    arguments.add_look(parser)
    arguments.add_audit(parser)
    arguments.add_source(parser)
    arguments.add_output(parser)


def _add_requeue(parser: ArgumentParser) -> None:
    arguments.add_queue(parser)
    arguments.add_selection(parser)
    parser.add_argument("--rate", type=values.rate, metavar="N/s", help="at most so many a second")
    arguments.add_change(parser)
    arguments.add_source(parser)
    arguments.add_output(parser)


def _add_purge(parser: ArgumentParser) -> None:
    arguments.add_queue(parser)
    arguments.add_state(parser)
    arguments.add_selection(parser)
    parser.add_argument(
        "--undo",
        action="store_true",
        help="bring back what the last purge took away, on Redis within an hour",
    )
    arguments.add_change(parser)
    arguments.add_source(parser)
    arguments.add_output(parser)
