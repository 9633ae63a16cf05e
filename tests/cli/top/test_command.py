"""How `otel-queue top` begins and ends: terminals, ports, signals, what is not installed."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from otel_queue_plugins.cli import main as command
from otel_queue_plugins.cli.top import terminal
from tests.cli.top.windows import Window
from tests.services import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TARGET = ["--url", "redis://:s3cret@localhost/0", "--framework", "celery"]


def test_without_a_terminal_it_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and what to use in its place."""
    assert command.main(["top", *TARGET]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert "needs a terminal" in line
    assert "--json" in line


def test_missing_textual_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the extra to install."""
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "textual" else name)
    assert command.main(["top", *TARGET]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("textual is not installed: pip install 'otel-queue-plugins[top]'")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--interval", "0"], "'0'"),
        (["--interval", "soon"], "'soon'"),
        (["--receive", "70000"], "'70000'"),
        (["--url", "redis://:s3cret@h/0"], "--framework"),
        (["-A", "no_such_module"], "no_such_module"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything is drawn."""
    monkeypatch.setattr(terminal, "is_there", lambda: True)
    target = TARGET if "A" not in arguments[0] and "url" not in arguments[0] else []
    try:
        code = command.main(["top", *target, *arguments])
    except SystemExit as error:
        code = int(str(error.code))
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert "s3cret" not in line


def test_port_that_is_taken_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 3."""
    monkeypatch.setattr(terminal, "is_there", lambda: True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert command.main(["top", *TARGET, "--receive", str(port)]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--receive {port}" in line


def test_other_commands_do_not_load_textual() -> None:
    """Nor do help and completion."""
    program = (
        "import sys; from otel_queue_plugins.cli.main import make_parser; make_parser(); "
        "import otel_queue_plugins.cli.queues.run; print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    ).stdout.split()
    assert "otel_queue_plugins.cli.top.arguments" in loaded
    assert not [name for name in loaded if name.startswith("textual")]


@pytest.fixture
def window() -> Iterator[Callable[..., Window]]:
    """Opens windows, with a broker that is away."""
    opened: list[Window] = []

    def make(*, is_controlling: bool = True) -> Window:
        url = f"redis://127.0.0.1:{free_port()}/0"
        target = ["--url", url, "--framework", "dramatiq", "--interval", "500ms"]
        opened.append(Window(*target, is_controlling=is_controlling))
        return opened[-1]

    yield make
    for each in opened:
        each.process.kill()
        each.process.wait()
        each.close()


@pytest.mark.slow
def test_ctrl_c_ends_it_with_0_and_leaves_the_terminal_as_it_was(
    window: Callable[..., Window],
) -> None:
    """The broker that is away was said, and nothing is below the view."""
    view = window()
    view.wait_for(b"away, again in")
    view.press(b"\x03")
    assert view.end() == 0
    assert view.shown.rstrip().endswith(b"\x1b[?25h") or b"\x1b[?1049l" in view.shown
    assert b"Traceback" not in view.shown


@pytest.mark.slow
@pytest.mark.parametrize("is_controlling", [True, False])
def test_window_that_is_closed_ends_it_with_0(
    window: Callable[..., Window], *, is_controlling: bool
) -> None:
    """With SIGHUP, and without, as under a program that keeps its children."""
    view = window(is_controlling=is_controlling)
    view.wait_for(b"away, again in")
    view.close()
    assert view.end() == 0


@pytest.mark.slow
def test_signal_ends_it(window: Callable[..., Window]) -> None:
    """SIGTERM has the exit code that it has for the other commands."""
    view = window()
    view.wait_for(b"away, again in")
    view.process.send_signal(signal.SIGTERM)
    assert view.end() == 143
    assert b"Traceback" not in view.shown
