"""Puts the tables of a run into a document, so that what it says is what was measured."""

from __future__ import annotations

import re
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
