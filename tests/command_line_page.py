"""Generates the commands of docs/reference/command-line.md from the parser of `otel-queue`.

`python -m tests.command_line_page` writes them; a test fails while the page has others. What
argparse would print is not used: it differs between versions of Python.
"""

from __future__ import annotations

import re
from argparse import Action, ArgumentParser, HelpFormatter, _SubParsersAction

from otel_queue_plugins.cli.main import make_parser
from tests.configuration_page import table
from tests.environment import ROOT

PATH = ROOT / "docs" / "reference" / "command-line.md"
EXAMPLES = "examples:\n"


def current() -> str:
    """The page as it is."""
    return PATH.read_text()


def generated() -> str:
    """The page as the parser has it."""
    begin, end = "<!-- generated: commands -->\n", "\n<!-- end -->"
    text = "\n\n".join(section(name, each) for name, each in commands().items())
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    page, found = pattern.subn(lambda _: f"{begin}{text}{end}", current())
    assert found == 1, "the page has no place for the commands"
    return page


def commands() -> dict[str, ArgumentParser]:
    """The parser of each command, by name."""
    (found,) = [each for each in make_parser()._actions if isinstance(each, _SubParsersAction)]
    return dict(found.choices)


def examples(parser: ArgumentParser) -> list[str]:
    """The lines that its help shows as examples."""
    _, found, lines = (parser.epilog or "").partition(EXAMPLES)
    return [line.strip() for line in lines.splitlines()] if found else []


def section(name: str, parser: ArgumentParser) -> str:
    """What the page says about one command."""
    actions = [each for each in parser._actions if each.dest != "help"]
    operands = [_operand(each) for each in actions if not each.option_strings]
    rows = [(_names(each), _help(each)) for each in actions]
    synopsis = " ".join(["otel-queue", name, *operands, "[OPTIONS]"])
    return "\n\n".join(
        [
            f"### {name}",
            parser.description or "",
            f"```text\n{synopsis}\n```",
            table(("argument", ""), rows),
            "Examples:",
            "\n".join(["```console", *examples(parser), "```"]),
        ]
    )


def _operand(action: Action) -> str:
    return f"[{_value(action)}]" if action.nargs in {"?", "*"} else _value(action)


def _names(action: Action) -> str:
    if not action.option_strings:
        return f"`{_value(action)}`".replace("|", "\\|")
    value = "" if action.nargs == 0 else f" {_value(action)}"
    return ", ".join(f"`{name}{value}`" for name in action.option_strings).replace("|", "\\|")


def _value(action: Action) -> str:
    if isinstance(action.metavar, str):
        return action.metavar
    if action.choices:
        return "|".join(map(str, action.choices))
    return action.dest.upper()


def _help(action: Action) -> str:
    text = HelpFormatter("")._expand_help(action)
    text = re.sub(r"(?<!`)--[a-z-]+", r"`\g<0>`", text)
    needed = " (required)" if action.required and action.option_strings else ""
    return f"{text}{needed}".replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    PATH.write_text(generated())
