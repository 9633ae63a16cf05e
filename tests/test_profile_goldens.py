"""What each profile sends is in a file that a reviewer has seen."""

from __future__ import annotations

import json

import pytest

from otel_queue_plugins.core.profiles import PROFILES
from tests import profile_goldens


@pytest.mark.parametrize("name", profile_goldens.NAMES)
def test_profile_sends_what_its_file_says(name: str) -> None:
    """If it is meant to send something else: `python -m tests.profile_goldens`, and a look."""
    assert profile_goldens.generated(name) == profile_goldens.path(name).read_text()


@pytest.mark.parametrize("name", PROFILES)
def test_profile_takes_nothing_away(name: str) -> None:
    """Whatever there is without one is there with it, and has the same value."""
    plain, found = (
        json.loads(profile_goldens.path(each).read_text())["spans"] for each in ("none", name)
    )
    for before, after in zip(plain, found, strict=True):
        assert before["attributes"].items() <= after["attributes"].items()
        assert {**after, "attributes": before["attributes"]} == before
