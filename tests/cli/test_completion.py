"""`otel-queue completion`: real shells complete with its scripts."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from otel_queue_plugins.cli.main import main
from tests.command_line_page import commands

if TYPE_CHECKING:
    from collections.abc import Callable

    Complete = Callable[..., list[str]]

SHELLS: Final = ("bash", "fish", "zsh")


def in_bash(script: str, _directory: Path, *words: str) -> list[str]:
    """What bash offers for the last of the words of a line."""
    ask = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _otel_queue; printf "%s\\n" "${COMPREPLY[@]}"'
    line = ["bash", "--norc", "-uc", f"{script}\n{ask}", "bash", "otel-queue", *words]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True)
    assert not done.stderr
    return done.stdout.split()


def in_fish(script: str, directory: Path, *words: str) -> list[str]:
    """The same of fish, without its descriptions."""
    path = directory / "otel-queue.fish"
    path.write_text(script)
    ask = f"source {path}; complete -C {' '.join(['otel-queue', *words])!r}"
    done = subprocess.run(
        ["fish", "--no-config", "-c", ask], capture_output=True, text=True, timeout=60, check=True
    )
    assert not done.stderr
    return [line.partition("\t")[0] for line in done.stdout.splitlines()]


ZSH: Final = """
PS1= TERM=dumb
autoload -U compinit && compinit -u -D
source {directory}/otel-queue.zsh
zstyle ':completion:*' list-colors ''
LISTMAX=0 COLUMNS=4000 LINES=500
report() {{ zle list-choices; print -r -- "${{(F)matches}}" >{directory}/found; }}
zle -N report; bindkey '^X' report
matches=()
compadd() {{
    local -a found
    if [[ " $* " != *" -"(O|A|D)" "* ]]; then
        builtin compadd -O found "$@"
        matches+=($found)
    fi
    builtin compadd "$@"
}}
print ready >{directory}/ready
"""


def in_zsh(script: str, directory: Path, *words: str) -> list[str]:
    """The same of zsh, which completes in a terminal alone."""
    (directory / "otel-queue.zsh").write_text(script)
    (directory / ".zshrc").write_text(ZSH.format(directory=directory))
    found, ready = directory / "found", directory / "ready"
    for path in (found, ready):
        path.unlink(missing_ok=True)
    terminal, end = pty.openpty()
    shell = subprocess.Popen(
        ["zsh", "-d", "-i"],
        **dict.fromkeys(("stdin", "stdout", "stderr"), end),
        env={**os.environ, "ZDOTDIR": str(directory)},
        start_new_session=True,
    )
    os.close(end)
    reading = threading.Thread(target=drain, args=(terminal,))
    reading.start()
    try:
        wait_for(ready)
        os.write(terminal, f"{' '.join(['otel-queue', *words])}\x18".encode())
        return wait_for(found).split()
    finally:
        shell.kill()
        shell.wait(60)
        reading.join(60)
        os.close(terminal)


def drain(terminal: int) -> None:
    """Read what the shell shows, which would stop otherwise."""
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:
        return


def wait_for(path: Path) -> str:
    """What a file has in it as soon as it ends with a line."""
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, path
        time.sleep(0.01)
    return path.read_text()


@pytest.fixture(params=SHELLS)
def complete(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Complete:
    """What a shell offers with the script that the command prints for it."""
    if shutil.which(request.param) is None:
        pytest.skip(f"there is no {request.param}")
    assert main(["completion", request.param]) == 0
    script = capsys.readouterr().out
    shell = {"bash": in_bash, "fish": in_fish, "zsh": in_zsh}[request.param]
    return lambda *words: shell(script, tmp_path, *words)


def test_commands_and_their_beginnings(complete: Complete) -> None:
    """Each command is offered, and those alone that begin as the word does."""
    assert set(commands()) <= set(complete(""))
    assert complete("req") == ["requeue"]


def test_options_of_the_command(complete: Complete) -> None:
    """Not those of others."""
    assert complete("peek", "orders", "--st") == ["--state"]
    assert complete("requeue", "orders", "--st") == []


def test_choices_of_an_option_and_of_an_operand(complete: Complete) -> None:
    """Where a value is free, nothing is offered in its place."""
    states = ["dead", "delayed", "ready", "unacked"]
    assert sorted(complete("purge", "q", "--state", "")) == states
    assert complete("demo", "dr") == ["dramatiq"]
    assert complete("peek", "orders", "--task", "") == []


def test_helps_with_signs_of_the_shell_are_texts(capsys: pytest.CaptureFixture[str]) -> None:
    """Brackets, colons and quotes mean nothing in them."""
    main(["completion", "zsh"])
    script = capsys.readouterr().out
    assert re.search(r"--app\[[^\]]*\]:MODULE\\\[\\:ATTR\\\]: ", script)
