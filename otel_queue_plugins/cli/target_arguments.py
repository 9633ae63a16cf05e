"""The options that say whose queues are meant, the same for every command."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Final

FRAMEWORKS: Final = ("celery", "dramatiq")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("-A", "--app", metavar="MODULE[:ATTR]", help="a Celery app")
    whose.add_argument("-B", "--broker", metavar="MODULE[:ATTR]", help="a Dramatiq broker")
    whose.add_argument("--url", help="the broker itself; nothing of an app is imported")
    parser.add_argument("--framework", choices=FRAMEWORKS, help="whose queues are at the URL")
    parser.add_argument(
        "--queue",
        action="append",
        default=[],
        metavar="NAME",
        help="a queue; may be given several times (default: all that are declared or found)",
    )
    parser.add_argument(
        "--namespace", default="dramatiq", help="of Dramatiq on Redis (default: %(default)s)"
    )
    parser.add_argument("--key-prefix", default="", help="`global_keyprefix` of Celery on Redis")
    parser.add_argument(
        "--management-url", metavar="URL", help="the management API of RabbitMQ (http://host:15672)"
    )
