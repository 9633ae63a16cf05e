"""The command, run in this process."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from otel_queue_plugins.cli import main
from otel_queue_plugins.cli.queues.run import run
from otel_queue_plugins.sdk.diagnosis import export_failures
from tests.receiver import FaultyReceiver, GrpcReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "s3cretTokenOfAUser"  # noqa: S105 - of no one


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """How the command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    def of(self, name: str) -> list[dict[str, Any]]:
        """The findings of one check."""
        return [each for each in self.document["checks"] if each["name"] == name]

    def broken(self) -> dict[str, list[str]]:
        """What is broken, with what to do, by the name of the check."""
        found: dict[str, list[str]] = {}
        for each in self.document["checks"]:
            if each["ok"] is False:
                found.setdefault(each["name"], []).append(f"{each['what']} -> {each['fix']}")
        return found


class Doctor:
    """Runs `otel-queue doctor` in an environment of the test's."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str, **environ: str) -> Diagnosis:
        """With `--json`, and as the environment has it."""
        return self.text("--json", *arguments, **environ)

    def text(self, *arguments: str, **environ: str) -> Diagnosis:
        """As a person has it."""
        self._capsys.readouterr()
        for name, value in environ.items():
            self._monkeypatch.setenv(name, value)
        try:
            code = run(main.make_parser().parse_args(["doctor", *arguments]))
        except SystemExit as error:
            code = int(str(error.code))
        finally:
            for name in environ:
                self._monkeypatch.delenv(name, raising=False)
        out, err = self._capsys.readouterr()
        assert SECRET not in out + err
        return Diagnosis(code=code, out=out, err=err)


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Doctor]:
    """The command; the loggers of the exporters are as before afterwards."""
    loggers = [logging.getLogger(name) for name in export_failures._LOGGERS]
    filters, installed = [list(each.filters) for each in loggers], list(export_failures._installed)
    yield Doctor(capsys, monkeypatch)
    export_failures._installed[:] = installed
    for logger, before in zip(loggers, filters, strict=True):
        logger.filters[:] = before


@pytest.fixture
def backend() -> Iterator[FaultyReceiver]:
    """An OTLP receiver over HTTP that can refuse."""
    receiver = FaultyReceiver().start()
    yield receiver
    receiver.stop()


@pytest.fixture
def grpc_backend() -> Iterator[GrpcReceiver]:
    """An OTLP receiver over gRPC that can refuse."""
    with GrpcReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost; its key lies beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("doctor-tls") / "cert.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    subject = ["-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(path.with_name("key.pem")), "-out", str(path)]
    subprocess.run([*command.split(), *subject, *files], check=True, capture_output=True)
    return path
