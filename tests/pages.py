"""The code blocks of the documentation, for tests that run what a page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (\w+)=(.*)$", re.MULTILINE)


def text(page: str) -> str:
    """A page (`how-to/logs`) as it is written."""
    return (DOCS / f"{page}.md").read_text()


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in one language, in their order."""
    return [code for of, code in _BLOCK.findall(text(page)) if of == language]


def block(page: str, language: str, saying: str) -> str:
    """The one block that has `saying` in it."""
    (found,) = [code for code in blocks(page, language) if saying in code]
    return found


def exported(page: str) -> dict[str, str]:
    """The variables that the console blocks of a page export, with the last value of each."""
    return dict(_EXPORT.findall("\n".join(blocks(page, "console"))))
