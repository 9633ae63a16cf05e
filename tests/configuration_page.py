"""Generates the tables of docs/reference/configuration.md from the definitions in the code.

`python -m tests.configuration_page` writes them; a test fails while the page has others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from otel_queue_plugins.core.settings.definitions import Setting
from otel_queue_plugins.core.settings.kinds import Flag
from otel_queue_plugins.core.settings.variables import FLAGS
from otel_queue_plugins.sdk.config import specified, variable_names
from otel_queue_plugins.sdk.fastpath.gate import PARTS
from tests.environment import ROOT

PATH = ROOT / "docs" / "reference" / "configuration.md"


def current() -> str:
    """The page as it is."""
    return PATH.read_text()


def generated() -> str:
    """The page as the definitions have it."""
    page = current()
    for name, text in {
        "flags": flags(),
        "settings": table(
            ("variable", "argument", "values", "default", ""), map(_row, variable_names.SETTINGS)
        ),
        "versions": versions(),
        "costs": costs(),
        "specified": table(
            ("variable", ""),
            ((_names(each), each.text) for each in specified.GROUPS if each.text),
        ),
    }.items():
        begin, end = f"<!-- generated: {name} -->\n", "\n<!-- end -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        page, found = pattern.subn(lambda _, put=f"{begin}{text}{end}": put, page)
        assert found == 1, f"the page has no place for {name}"
    return page


def table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [heading, *rows]
    text = [f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in lines]
    return "\n".join([text[0], f"|{'---|' * len(heading)}", *text[1:]])


def flags() -> str:
    """How booleans are spelled."""
    spellings = [f"`{each}`" for each in FLAGS]
    return f"A flag is one of {', '.join(spellings)}, in any case."


def _row(setting: Setting[Any]) -> tuple[str, ...]:
    argument = f"`{setting.argument}`" if setting.argument else ""
    return (f"`{setting.variable}`", argument, _values(setting), _default(setting), setting.text)


def _values(setting: Setting[Any]) -> str:
    if isinstance(setting.kind, Flag):
        return "a flag"
    return str(setting.kind).replace("'", "`").replace("``, ", "")


def _default(setting: Setting[Any]) -> str:
    if setting.default_text:
        return setting.default_text
    if isinstance(setting.default, bool):
        return "`on`" if setting.default else "`off`"
    number = isinstance(setting.default, float)
    return f"`{setting.default:g}`" if number else f"`{setting.default}`"


def _names(group: specified.Group) -> str:
    return group.shown or ", ".join(f"`{name}`" for name in group.names)


def versions() -> str:
    """With which versions of the SDK the parts of the fast path are used."""
    numbers = sorted({v for part in PARTS.values() for v in (*part.proven, *part.not_needed)})
    rows = [
        (number, *(_word(number, part.proven, part.not_needed) for part in PARTS.values()))
        for number in numbers
    ]
    return table(("opentelemetry-sdk", *PARTS), rows)


def _word(number: str, proven: tuple[str, ...], not_needed: tuple[str, ...]) -> str:
    return "yes" if number in proven else "not needed" if number in not_needed else "no"


def costs() -> str:
    """What a message costs more without each part."""
    *most, last = [part.cost.removesuffix(" us") for part in PARTS.values()]
    return (
        "Where it is off because something differs, one line at INFO says so, why, and what it "
        f"costs a message:\nabout {', '.join(most)} and {last} us, in the order of the columns. "
        "Nothing else changes: what is exported is the same."
    )


if __name__ == "__main__":
    PATH.write_text(generated())
