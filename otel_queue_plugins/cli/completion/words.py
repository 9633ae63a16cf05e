"""What a shell can complete: the commands of a parser, their options, and the values of those."""

from __future__ import annotations

from argparse import Action, ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

_PATHS: Final = {"DIR", "FILE", "PATH", "DIRECTORY"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """An option or an operand. `choices` is empty where any text may stand, and for a switch."""

    options: tuple[str, ...]
    help: str
    value: str
    choices: tuple[str, ...]
    is_repeatable: bool

    @property
    def takes_value(self) -> bool:
        """Whether a word follows the option."""
        return bool(self.value)

    @property
    def is_path(self) -> bool:
        """Whether the value is that of a file or a directory."""
        return self.value in _PATHS


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One of the commands, and what it is called with."""

    name: str
    help: str
    arguments: tuple[Argument, ...]


def commands_of(parser: ArgumentParser) -> list[Command]:
    """The commands, in the order of the help."""
    found = _subparsers(parser)
    texts = {each.dest: each.help or "" for each in found._choices_actions}  # noqa: SLF001
    return [
        Command(name=name, help=texts.get(name, ""), arguments=tuple(arguments_of(each)))
        for name, each in found.choices.items()
    ]


def arguments_of(parser: ArgumentParser) -> Iterator[Argument]:
    """The options and operands of a parser itself."""
    for action in _actions(parser):
        if not isinstance(action, _SubParsersAction):
            yield _argument(action, parser)


def _argument(action: Action, parser: ArgumentParser) -> Argument:
    has_value = action.nargs != 0 or not action.option_strings
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    return Argument(
        options=tuple(action.option_strings),
        help=(action.help or "") % {**vars(action), "prog": parser.prog},
        value=value if has_value else "",
        choices=tuple(map(str, action.choices or ())),
        is_repeatable=type(action).__name__ == "_AppendAction",
    )


# argparse has no public way to ask for them.
def _actions(parser: ArgumentParser) -> list[Action]:
    return parser._actions  # noqa: SLF001


def _subparsers(parser: ArgumentParser) -> Any:
    (found,) = [each for each in _actions(parser) if isinstance(each, _SubParsersAction)]
    return found
