"""The script that lets bash complete the commands, options and choices of a parser."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Final

from otel_queue_plugins.cli.completion.words import Command, arguments_of, commands_of

_SCRIPT: Final = """\
_otel_queue() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words=
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W "{commands}" -- "$word"))
        return
    fi
    case "${{COMP_WORDS[1]}} $before" in
{values}
    esac
    case "${{COMP_WORDS[1]}}" in
{words}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _otel_queue otel-queue
"""


def script(parser: ArgumentParser) -> str:
    """What bash reads: `eval "$(otel-queue completion bash)"`."""
    commands = commands_of(parser)
    own = [name for each in arguments_of(parser) for name in each.options]
    return _SCRIPT.format(
        commands=" ".join([*(each.name for each in commands), *own]),
        values="\n".join(line for each in commands for line in _values(each)),
        words="\n".join(
            f'        {each.name}) words="{" ".join(_words(each))}" ;;' for each in commands
        ),
    )


def _values(command: Command) -> Iterator[str]:
    """After an option with a value: its choices, or none of the other words."""
    for each in command.arguments:
        if each.options and each.takes_value:
            places = "|".join(f'"{command.name} {name}"' for name in each.options)
            choices = " ".join(each.choices)
            yield f'        {places}) COMPREPLY=($(compgen -W "{choices}" -- "$word")); return ;;'


def _words(command: Command) -> Iterator[str]:
    for each in command.arguments:
        yield from each.options or each.choices
