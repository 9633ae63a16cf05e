"""The script that lets bash complete the commands, options and choices of a parser."""

from __future__ import annotations

from argparse import Action, ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from typing import Final

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
    (found,) = [each for each in _actions_of(parser) if isinstance(each, _SubParsersAction)]
    commands: dict[str, ArgumentParser] = dict(found.choices)
    own = [name for action in _actions_of(parser) for name in action.option_strings]
    return _SCRIPT.format(
        commands=" ".join([*commands, *own]),
        values="\n".join(
            line for name, each in commands.items() for line in _values(name, _actions_of(each))
        ),
        words="\n".join(
            f'        {name}) words="{" ".join(_words(_actions_of(each)))}" ;;'
            for name, each in commands.items()
        ),
    )


def _actions_of(parser: ArgumentParser) -> list[Action]:
    # argparse has no public way to ask for them.
    return parser._actions  # noqa: SLF001


def _values(command: str, actions: list[Action]) -> Iterator[str]:
    """After an option with a value: its choices, or none of the other words."""
    for action in actions:
        if action.option_strings and action.nargs != 0:
            places = "|".join(f'"{command} {name}"' for name in action.option_strings)
            choices = " ".join(map(str, action.choices or ()))
            yield f'        {places}) COMPREPLY=($(compgen -W "{choices}" -- "$word")); return ;;'


def _words(actions: list[Action]) -> Iterator[str]:
    for action in actions:
        yield from action.option_strings or map(str, action.choices or ())
