"""The reference of the command line and its parser have the same commands and options."""

from __future__ import annotations

import re
from argparse import ArgumentParser, _SubParsersAction

from otel_queue_plugins.cli.main import make_parser
from tests import pages

NOT_ABOUT_QUEUES = {"dashboards", "workers"}
PAGE = pages.text("reference/command-line")


def parsers() -> dict[str, ArgumentParser]:
    """The parser of each command for queues."""
    (found,) = [each for each in make_parser()._actions if isinstance(each, _SubParsersAction)]
    return {name: each for name, each in found.choices.items() if name != "demo"}


def options_of(parser: ArgumentParser) -> set[str]:
    """The names of its options."""
    names = {name for action in parser._actions for name in action.option_strings}
    return names - {"-h", "--help"}


def rows() -> dict[str, str]:
    """The options in the first cells of the tables, each with its row."""
    found = {}
    for line in PAGE.splitlines():
        if line.startswith("| `-"):
            for name in re.findall(r"`(-[\w-]+)`", line.split(" | ")[0]):
                found[name] = line
    return found


def test_option_has_a_row_and_row_has_an_option() -> None:
    """Of some command."""
    assert set(rows()) == set().union(*map(options_of, parsers().values()))


def test_row_names_the_commands_that_take_the_option() -> None:
    """In its second cell, where not all of them do."""
    for name, row in rows().items():
        taken = {command for command, parser in parsers().items() if name in options_of(parser)}
        if set(parsers()) - taken - NOT_ABOUT_QUEUES:
            assert set(re.findall(r"`(\w+)`", row.split(" | ")[1])) == taken, name


def test_command_has_a_row() -> None:
    """Each is described."""
    for name in (*parsers(), "demo"):
        assert f"| `otel-queue {name}" in PAGE


def test_command_on_the_how_to_page_is_understood() -> None:
    """Each line that starts with `otel-queue` is parsed."""
    blocks = "\n".join(pages.blocks("how-to/operate-queues", "console"))
    lines = re.findall(r"^otel-queue (.*)$", blocks, re.MULTILINE)
    assert len(lines) >= 8
    for line in lines:
        make_parser().parse_args(line.replace("'", "").split())
