"""The pictures of `otel-queue top` in the documentation are made by a script."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests import top_pictures

if TYPE_CHECKING:
    from pathlib import Path

PAGE = top_pictures.PLACE / "top.md"


def test_script_draws_the_pictures_of_the_page(tmp_path: Path) -> None:
    """All of them and no other; they load nothing from elsewhere."""
    top_pictures.draw(tmp_path)
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == set(re.findall(r"\((top-[a-z]+\.svg)\)", PAGE.read_text()))
    for name in drawn:
        kept = (top_pictures.PLACE / name).read_text()
        for picture in (kept, (tmp_path / name).read_text()):
            assert "orders" in picture
            assert "url(" not in picture.replace("url(#", "")
