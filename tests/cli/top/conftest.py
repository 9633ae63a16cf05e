"""Fixtures of the tests of the full-screen view."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_terminal_of_the_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn depends on no variable of whoever runs the tests."""
    for name in ("NO_COLOR", "TEXTUAL_THEME", "TEXTUAL_PRESS", "TEXTUAL_SCREENSHOT"):
        monkeypatch.delenv(name, raising=False)
