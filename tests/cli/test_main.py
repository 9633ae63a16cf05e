"""The command line is told what is wrong with it."""

from __future__ import annotations

import pytest

from otel_queue_plugins.cli import main as command
from otel_queue_plugins.cli.demo import frameworks
from otel_queue_plugins.version import VERSION


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["demo", "rq"], ["'rq'", "celery", "dramatiq"]),
        (["demo", "--broker-url", "kafka://x"], ["'kafka://x'", "redis://", "amqp://"]),
        (["demo", "--broker-url", "redis:"], ["'redis:'", "host"]),
        (["demo", "--broker-url", "redis://[x"], ["'redis://[x'"]),
        (["demo", "--otlp-endpoint", "localhost:4318"], ["'localhost:4318'", "http://"]),
        (["demo", "--timeout", "soon"], ["'soon'", "seconds"]),
        (["demo", "--timeout", "0"], ["'0'", "above 0"]),
        (["demo", "--timeout", "inf"], ["'inf'"]),
        (["sow"], ["'sow'", "demo"]),
    ],
)
def test_wrong_usage_names_the_value_and_the_choices(
    arguments: list[str], said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, nothing on stdout, nothing started."""
    with pytest.raises(SystemExit) as ending:
        command.main(arguments)
    assert ending.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert all(text in err for text in said), err


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    """And the exit code of wrong usage."""
    assert command.main([]) == 2
    assert "demo" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """For bug reports."""
    with pytest.raises(SystemExit) as ending:
        command.main(["--version"])
    assert ending.value.code == 0
    assert VERSION in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "absent", "said"),
    [
        ([], {"rich"}, "rich is not installed: pip install 'otel-queue-plugins[demo]'"),
        (["celery"], {"celery"}, "celery is not installed"),
        (["dramatiq"], {"fakeredis", "lupa"}, "fakeredis and lupa are not installed"),
        ([], {"celery", "dramatiq"}, "celery is not installed"),
        (["celery", "--broker-url", "redis://x"], {"redis"}, "redis is not installed"),
        (["dramatiq", "--broker-url", "amqp://x"], {"pika"}, "pip install 'dramatiq[rabbitmq]'"),
    ],
)
def test_a_missing_extra_is_one_line(
    arguments: list[str],
    absent: set[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says what to install, and no traceback says the rest."""
    for module in (command, frameworks):
        monkeypatch.setattr(module, "find_spec", lambda name: None if name in absent else name)
    assert command.main(["demo", *arguments]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert "pip install" in lines[0]
