"""Wrong usage of the commands for queues: one line with the value and the choices, exit code 2."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from otel_queue_plugins.cli import main
from tests.cli.queue_commands import Command

if TYPE_CHECKING:
    from pathlib import Path

URL = "redis://user:s3cret@host/0"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["queues"], ["-A", "-B", "--url"]),
        (["queues", "-A", "a", "-B", "b"], ["-A", "-B", "not allowed"]),
        (["queues", "--url", URL], ["--framework", "celery", "dramatiq"]),
        (["queues", "--url", URL, "--framework", "rq"], ["'rq'", "celery", "dramatiq"]),
        (["queues", "--url", "s3cret@host", "--framework", "celery"], ["not a URL", "redis://"]),
        (["queues", URL], ["required"]),
        (["queues", "-A", "x", URL], ["unrecognized"]),
        (["queues", "-A", "x", "--timeout", "soon"], ["'soon'", "10m"]),
        (["queues", "-A", "x", "--timeout", "0"], ["'0'", "above 0"]),
        (["queues", "-A", "x", "--namespace", "n"], ["--namespace", "--url"]),
        (["queues", "-A", "x", "--management-url", "h:1"], ["'h:1'", "http://"]),
        (["peek", "q", "-A", "x", "--state", "lost"], ["'lost'", "ready", "dead"]),
        (["peek", "q", "-A", "x", "-n", "0"], ["'0'", "whole number"]),
        (["peek", "q", "-A", "x", "--older-than", "1 week"], ["'1 week'", "1d"]),
        (["requeue", "q", "-A", "x", "--rate", "fast"], ["'fast'", "10/s"]),
        (["requeue", "q", "-A", "x", "--state", "ready"], ["--state"]),
        (["queues", "-A", "no.such.module"], ["-A no.such.module", "ModuleNotFoundError"]),
        (["queues", "-A", "json"], ["-A json"]),
        (["queues", "-A", "json:dumps"], ["-A json:dumps", "no Celery app"]),
        (["queues", "-B", "json:encoder"], ["-B json:encoder", "not a Broker"]),
    ],
)
def test_wrong_usage_is_one_line_without_passwords(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: list[str]
) -> None:
    """It names the value and what is allowed; stdout is empty."""
    done = Command(capsys, "celery").bare(*arguments)
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert all(text in done.err for text in said), done.err


def test_module_that_exits_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that fails for a reason with a password in it."""
    (tmp_path / "exits_in_cli.py").write_text("raise SystemExit('no redis://a:s3cret@h')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    done = Command(capsys, "celery").bare("queues", "-A", "exits_in_cli")
    assert done.code == 2
    assert "SystemExit: no redis://***@h" in done.err


def test_queues_that_cannot_be_listed_have_to_be_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, with the option."""
    monkeypatch.setattr("otel_queue_plugins.brokers.reader.QueueReader.names", lambda *_, **__: {})
    done = Command(capsys, "celery").bare("queues", "--url", "memory://", "--framework", "celery")
    assert done.code == 2
    assert "--queue NAME" in done.err


def test_transport_of_which_nothing_is_known_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    """The document has the reason for each number."""
    url = ["--url", "filesystem://", "--framework", "celery", "--queue", "q"]
    done = Command(capsys, "celery").bare("queues", "--json", *url)
    assert done.code == 1
    (row,) = done.document["queues"]
    assert row["ready"] is None
    assert row["unknown"]["ready"]


def test_missing_package_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what to install."""
    monkeypatch.setattr(main, "find_spec", lambda _name: None)
    assert main.main(["queues", "-A", "x"]) == 2
    assert capsys.readouterr().err == (
        "otel-queue: rich is not installed: pip install 'otel-queue-plugins[cli]'\n"
    )
    monkeypatch.setitem(sys.modules, "pika", None)
    url = ["--url", "amqp://host", "--framework", "dramatiq"]
    done = Command(capsys, "dramatiq").bare("queues", *url)
    assert done.code == 2
    assert "pika is not installed" in done.err


@pytest.mark.parametrize("command", ["queues", "peek", "show", "requeue", "purge"])
def test_help_has_examples(capsys: pytest.CaptureFixture[Any], command: str) -> None:
    """Of that command, each a line that starts with it."""
    done = Command(capsys, "celery").bare(command, "--help")
    assert done.code == 0
    examples = done.out.partition("examples:\n")[2].splitlines()
    assert examples
    assert all(line.startswith(f"  otel-queue {command} ") for line in examples)
