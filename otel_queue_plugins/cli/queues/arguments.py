"""Arguments of the commands for queues."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Final

from otel_queue_plugins.brokers.facts import STATES
from otel_queue_plugins.brokers.selection import Selection
from otel_queue_plugins.cli.queues import values

TIMEOUT_S: Final = 5.0
LIMIT: Final = 20


def add_source(parser: ArgumentParser, *, required: bool = True) -> None:
    """Add the options that say which queues."""
    group = parser.add_argument_group("which queues")
    which = group.add_mutually_exclusive_group(required=required)
    app = "MODULE[:ATTR]"
    which.add_argument("-A", "--app", metavar=app, help="a Celery app, as `celery -A` finds it")
    which.add_argument("-B", "--broker", metavar=app, help="a broker, as `dramatiq` finds it")
    which.add_argument(
        "--url", type=values.broker_url, help="a broker; needs --framework, imports no app"
    )
    group.add_argument("--framework", choices=("celery", "dramatiq"), help="with --url")
    group.add_argument("--namespace", metavar="NAME", help="with --url: that of Dramatiq's keys")
    group.add_argument("--key-prefix", metavar="TEXT", help="with --url: kombu's global_keyprefix")
    group.add_argument(
        "--management-url",
        type=values.api_url,
        metavar="URL",
        help="RabbitMQ's management API (default: the broker's host, port 15672, if it answers; "
        "none for `report`)",
    )


def add_output(parser: ArgumentParser) -> None:
    """Add the options that commands have which answer at once."""
    parser.add_argument("--json", action="store_true", help="write one JSON document to stdout")
    add_timeout(parser)
    parser.add_argument("--quiet", action="store_true", help="write errors only to stderr")


def add_timeout(parser: ArgumentParser) -> None:
    """Add the time within which a broker has to answer."""
    parser.add_argument(
        "--timeout",
        type=values.positive_duration,
        default=TIMEOUT_S,
        metavar="S",
        help="give up after this time (default: %(default)g s)",
    )


def add_queue(parser: ArgumentParser) -> None:
    """Add the one queue that a command is about."""
    parser.add_argument("queue", metavar="QUEUE", help="its name, as your code has it")


def add_queues(parser: ArgumentParser) -> None:
    """Add a choice of queues."""
    parser.add_argument(
        "--queue",
        action="append",
        default=[],
        dest="queues",
        metavar="NAME",
        help="this queue alone (repeatable); needed where the broker cannot list its queues",
    )


def add_state(parser: ArgumentParser) -> None:
    """Add the state of the messages."""
    parser.add_argument(
        "--state", choices=STATES, default="ready", help="of the messages (default: %(default)s)"
    )


def add_selection(parser: ArgumentParser) -> None:
    """Add what chooses among the messages of a queue."""
    parser.add_argument("--task", metavar="GLOB", help="only those of tasks with such names")
    parser.add_argument(
        "--older-than",
        type=values.duration,
        metavar="TIME",
        help="only those that could have run so long ago: 30s, 10m, 2h, 1d",
    )
    parser.add_argument("--id", help="only the one with this id, or with ids that begin so")


def add_look(parser: ArgumentParser) -> None:
    """Add the options of commands that show messages."""
    parser.add_argument(
        "-n",
        type=values.count,
        default=LIMIT,
        dest="limit",
        metavar="N",
        help="at most so many (default: %(default)s)",
    )
    parser.add_argument("--args", action="store_true", help="show the arguments of the tasks, too")
    parser.add_argument(
        "--disturb",
        action="store_true",
        help="look even where that marks messages as redelivered (RabbitMQ), at ten at most",
    )


def add_backend(parser: ArgumentParser) -> None:
    """Add the backend that has the traces."""
    parser.add_argument(
        "--backend-url",
        type=values.api_url,
        metavar="URL",
        help="the API of Jaeger or Tempo that has the traces (default: that of "
        "OTEL_QUEUE_TRACE_URL=jaeger:URL)",
    )


def add_audit(parser: ArgumentParser) -> None:
    """Add the choice to record a look."""
    parser.add_argument("--audit", action="store_true", help="send a span that says who looked")


def add_change(parser: ArgumentParser) -> None:
    """Add the options of commands that change queues."""
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="say what it would do, and end")


def selection_of(parsed: Namespace) -> Selection:
    """The choice among the messages."""
    return Selection(task=parsed.task, id=parsed.id, older_than=parsed.older_than)
