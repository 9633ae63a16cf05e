"""Puts the tables of a run into a document, so that what it says is what was measured."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path


def put(document: Path, name: str, text: str) -> bool:
    """Replace what is between `<!-- measured: name -->` and `<!-- end -->`; False if not there."""
    before, after = f"<!-- measured: {name} -->\n", "<!-- end -->"
    pattern = re.compile(re.escape(before) + ".*?" + re.escape(after), re.DOTALL)
    whole = document.read_text()
    block = f"{before}\n```text\n{text}\n```\n\n{after}"
    if not pattern.search(whole):
        return False
    document.write_text(pattern.sub(lambda _: block, whole, count=1))
    return True


def put_rows(document: Path, rows: Mapping[str, Sequence[str]]) -> None:
    """Replace the other cells in each row of a Markdown table that begins with a key of `rows`.

    Rows that begin with something else stay as they are, and a key without a row is left out.
    """
    lines = document.read_text().splitlines()
    for number, line in enumerate(lines):
        first = line.strip("| ").partition(" | ")[0]
        if line.startswith("| ") and first in rows:
            lines[number] = f"| {' | '.join([first, *rows[first]])} |"
    document.write_text("\n".join(lines) + "\n")
