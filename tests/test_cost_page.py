"""The page about cost has the measured figures."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.benchmarks import documents, page

LAB_BOOK = Path(page.__file__).with_name("COST.md")


def test_cost_page_matches_the_figures(tmp_path: Path) -> None:
    """Made again from `cost.json`, the page and its chart are what is committed."""
    again = tmp_path / page.PAGE.name
    shutil.copy(page.PAGE, again)
    page.update(page.FIGURES, again)
    assert again.read_text() == page.PAGE.read_text()
    assert again.with_suffix(".svg").read_text() == page.PAGE.with_suffix(".svg").read_text()


def test_changed_figure_changes_only_its_row(tmp_path: Path) -> None:
    """A changed ratio changes its row of the page; other tables and sentences stay."""
    document = tmp_path / "page.md"
    document.write_text("# Cost\n\n| of | at most |\n|---|---|\n| a; b | 0 | 0 |\n| c | 1 |\n")
    documents.put_rows(document, {"a; b": ["0.60", "0.53"], "d": ["9"]})
    assert document.read_text() == (
        "# Cost\n\n| of | at most |\n|---|---|\n| a; b | 0.60 | 0.53 |\n| c | 1 |\n"
    )


def test_measured_table_replaces_the_earlier_one(tmp_path: Path) -> None:
    """A run replaces the tables that it has measured, and nothing else."""
    book = tmp_path / "book.md"
    shutil.copy(LAB_BOOK, book)
    places = re.findall(r"<!-- measured: (.*) -->", LAB_BOOK.read_text())
    assert {"cost celery", "cost dramatiq", "targets", "parts", "footprint", "redis"} <= {*places}
    for name in places:
        assert documents.put(book, name, f"table of {name}")
    assert book.read_text().count("table of ") == len(places)
    assert not documents.put(book, "something else", "table")
