"""The script that lets zsh complete the commands, options and choices of a parser."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from otel_queue_plugins.cli.completion.words import Argument, arguments_of, commands_of

_SCRIPT: Final = """\
#compdef otel-queue
_otel_queue() {{
    local -a commands=(
{commands}
    )
    if (( CURRENT == 2 )); then
        _describe -t commands command commands
        _arguments{options}
        return
    fi
    shift words
    (( CURRENT-- ))
    case $words[1] in
{cases}
    esac
}}
if [[ $funcstack[1] == _otel_queue ]]; then
    _otel_queue "$@"
else
    compdef _otel_queue otel-queue
fi
"""
_SPECIAL: Final = re.compile(r"([\[\]:\\])")


def script(parser: ArgumentParser) -> str:
    """What zsh reads: `source <(otel-queue completion zsh)`, after `compinit`."""
    commands = commands_of(parser)
    return _SCRIPT.format(
        commands="\n".join(
            f"        {_quoted(each.name + ':' + _escaped(each.help))}" for each in commands
        ),
        options=_specs(arguments_of(parser)),
        cases="\n".join(
            f"    {each.name}) _arguments{_specs(each.arguments)} ;;" for each in commands
        ),
    )


def _specs(arguments: Iterable[Argument]) -> str:
    return "".join(f" \\\n        {_quoted(_spec(each))}" for each in _by_name(arguments))


def _by_name(arguments: Iterable[Argument]) -> Iterable[Argument]:
    """One argument for each name of an option."""
    for each in arguments:
        if each.options:
            yield from (replace(each, options=(name,)) for name in each.options)
        else:
            yield each


def _spec(argument: Argument) -> str:
    value = f":{_escaped(argument.value)}:" if argument.takes_value else ""
    if argument.choices:
        value += f"({' '.join(argument.choices)})"
    elif argument.takes_value:
        value += "_files" if argument.is_path else " "
    if not argument.options:
        return value  # an operand
    star = "*" if argument.is_repeatable else ""
    return f"{star}{argument.options[0]}[{_escaped(argument.help)}]{value}"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
