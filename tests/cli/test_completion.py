"""`otel-queue completion`: a real bash completes with its script."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from otel_queue_plugins.cli.main import main
from tests.command_line_page import commands

BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="there is no bash")


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str]) -> str:
    """What the command prints."""
    assert main(["completion", "bash"]) == 0
    return capsys.readouterr().out


def completed(script: str, *words: str) -> list[str]:
    """What bash offers for the last of the words of a line."""
    ask = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _otel_queue; printf "%s\\n" "${COMPREPLY[@]}"'
    line = [str(BASH), "--norc", "-uc", f"{script}\n{ask}", "bash", "otel-queue", *words]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True)
    assert not done.stderr
    return done.stdout.split()


def test_commands_and_their_beginnings(script: str) -> None:
    """Each command is offered, and those alone that begin as the word does."""
    assert set(commands()) <= set(completed(script, ""))
    assert completed(script, "req") == ["requeue"]


def test_options_of_the_command(script: str) -> None:
    """Not those of others."""
    assert completed(script, "peek", "orders", "--st") == ["--state"]
    assert completed(script, "requeue", "orders", "--st") == []


def test_choices_of_an_option_and_of_an_operand(script: str) -> None:
    """Where a value is free, nothing is offered in its place."""
    assert completed(script, "purge", "q", "--state", "") == ["ready", "delayed", "unacked", "dead"]
    assert completed(script, "demo", "dr") == ["dramatiq"]
    assert completed(script, "peek", "orders", "--task", "") == []
