"""`otel-queue report` is told what is wrong with it, in one line and with an exit code."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest

from otel_queue_plugins.cli import main as command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "s3cret"  # noqa: S105 - it is to be looked for


@pytest.fixture(autouse=True)
def same_logging() -> Iterator[None]:
    """The command sets up logging for its process; this one goes on."""
    ours, root = logging.getLogger("otel_queue_plugins"), logging.getLogger()
    level, handlers = ours.level, list(root.handlers)
    yield
    ours.setLevel(level)
    root.handlers[:] = handlers


def test_whose_queues_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """One of three options is needed, and only one."""
    for arguments in ([], ["-A", "x", "--url", "redis://"]):
        with pytest.raises(SystemExit) as ending:
            command.main(["report", *arguments])
        assert ending.value.code == 2
    assert "--url" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--url", f"redis://u:{SECRET}@h"], "--framework"),
        (["--url", f"nothing://u:{SECRET}@h/", "--framework", "celery", "--queue", "q"], "nothing"),
        (["-A", "no_such_module", "--framework", "celery"], "--framework"),
        (["-A", "no_such_module"], "no_such_module"),
        (["-B", "no_such_module:broker"], "no_such_module"),
        (["--url", f"redis://u:{SECRET}@h", "--framework", "dramatiq"], "OTEL_EXPORTER_OTLP_"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a password; nothing is connected to."""
    assert command.main(["report", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert said in err
    assert SECRET not in err


def test_app_that_raises_while_it_is_imported_is_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its error is in the line, the secrets of URLs in it are not."""
    (tmp_path / "broken_app_of_report.py").write_text(
        f"raise RuntimeError('redis://u:{SECRET}@h is down')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for option in ("-A", "-B"):
        assert command.main(["report", option, "broken_app_of_report"]) == 2
        _, err = capsys.readouterr()
        assert "is down" in err
        assert SECRET not in err


def test_broker_that_cannot_be_reached_is_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody listens at that port."""
    monkeypatch.setitem(os.environ, "OTEL_METRICS_EXPORTER", "console")
    url = f"redis://u:{SECRET}@127.0.0.1:1/0"
    arguments = ["report", "--url", url, "--framework", "celery", "--queue", "q", "--once"]
    assert command.main(arguments) == 3
    _, err = capsys.readouterr()
    assert err.startswith("otel-queue report: redis://***@127.0.0.1:1/0")
    assert SECRET not in err
