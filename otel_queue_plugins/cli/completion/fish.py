"""The script that lets fish complete the commands, options and choices of a parser."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Final

from otel_queue_plugins.cli.completion.words import Argument, Command, arguments_of, commands_of

_LINE: Final = "complete -c otel-queue"


def script(parser: ArgumentParser) -> str:
    """What fish reads: `otel-queue completion fish | source`."""
    commands = commands_of(parser)
    no_command = f"-n {_quoted('not __fish_seen_subcommand_from ' + _names(commands))}"
    lines = [
        *(f"{_LINE} {no_command} {_argument(each)}" for each in arguments_of(parser)),
        *(f"{_LINE} {no_command} -f -a {each.name} -d {_quoted(each.help)}" for each in commands),
        *(line for each in commands for line in _lines(each)),
    ]
    return "\n".join(lines) + "\n"


def _lines(command: Command) -> Iterator[str]:
    condition = f"-n {_quoted(f'__fish_seen_subcommand_from {command.name}')}"
    for each in command.arguments:
        if each.options or each.choices:
            yield f"{_LINE} {condition} {_argument(each)}"


def _argument(argument: Argument) -> str:
    if not argument.options:
        return f"-f -a {_quoted(' '.join(argument.choices))}"
    parts = [_option(name) for name in argument.options]
    if argument.choices:
        parts.append(f"-x -a {_quoted(' '.join(argument.choices))}")
    elif argument.takes_value:
        parts.append("-r" if argument.is_path else "-x")
    return " ".join([*parts, f"-d {_quoted(argument.help)}"])


def _option(name: str) -> str:
    return f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"


def _names(commands: list[Command]) -> str:
    return " ".join(each.name for each in commands)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
