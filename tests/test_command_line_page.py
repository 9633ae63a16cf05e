"""The reference of the command line has what its parser has."""

from __future__ import annotations

import re
import shlex

import pytest

from otel_queue_plugins.cli.main import make_parser
from tests import command_line_page, pages

PAGE = command_line_page.current()
COMMANDS = command_line_page.commands()


def test_page_has_the_commands_of_the_parser() -> None:
    """If not, `python -m tests.command_line_page` writes them."""
    assert command_line_page.generated() == PAGE


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_examples_that_are_understood(name: str) -> None:
    """Each is a line of that very command."""
    lines = command_line_page.examples(COMMANDS[name])
    assert lines
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "otel-queue"
        assert make_parser().parse_args(arguments).command == name


def test_command_has_a_row() -> None:
    """Each is described."""
    for name in COMMANDS:
        assert f"| `otel-queue {name}" in PAGE


def test_command_on_the_how_to_page_is_understood() -> None:
    """Each line that starts with `otel-queue` is parsed."""
    blocks = "\n".join(pages.blocks("how-to/operate-queues", "console"))
    lines = re.findall(r"^otel-queue (.*)$", blocks, re.MULTILINE)
    assert len(lines) >= 8
    for line in lines:
        make_parser().parse_args(line.replace("'", "").split())
