"""Scraped metrics are kept in a single process, and refused with one line in several."""

from __future__ import annotations

import errno
import multiprocessing.process
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from otel_queue_plugins.sdk import ConfigurationError, instance_id, shared_memory, validate
from otel_queue_plugins.sdk.config import scraping
from otel_queue_plugins.sdk.config.plan import read
from otel_queue_plugins.sdk.config.reader import Environment

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMETHEUS = {"OTEL_METRICS_EXPORTER": "prometheus"}


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test is a process of its own, with Prometheus's exporter installed."""
    monkeypatch.setattr(Environment, "component", lambda *_, **__: True)
    scraping.set_siblings_check(lambda: None)
    yield
    scraping.set_siblings_check(lambda: None)
    scraping._reporter.release()


def metrics(environ: dict[str, str]) -> tuple[str, ...]:
    """The exporters of metrics that this process may have."""
    return tuple(str(each) for each in read(environ).exporters.get("metrics", ()))


def test_scraped_exporter_of_a_single_process_is_kept() -> None:
    """A script or a web process."""
    assert metrics(PROMETHEUS) == ("prometheus",)


@pytest.mark.parametrize("has_siblings", [False, True])
def test_scraped_exporter_of_a_worker_is_served_for_all_its_processes(
    has_siblings: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is reported, and no process opens the exporter's port."""
    scraping.set_siblings_check(lambda: has_siblings)
    plan = read(PROMETHEUS)
    assert plan.exporters == {"metrics": ()}
    assert plan.is_served
    validate({**PROMETHEUS, "OTEL_QUEUE_STRICT": "on"})
    assert caplog.records == []


def test_other_exporters_beside_a_served_one_are_kept() -> None:
    """Metrics go to both."""
    scraping.set_siblings_check(lambda: True)
    assert metrics({"OTEL_METRICS_EXPORTER": "prometheus,console"}) == ("console",)


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process was forked, by a web server for example."""
    monkeypatch.setattr(instance_id, "_forked", {os.getpid()})


@pytest.mark.usefixtures("forked")
def test_scraped_exporter_of_several_processes_is_refused_with_the_remedy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One ERROR line; strict mode stops the start."""
    assert metrics(PROMETHEUS) == ()
    validate(dict(PROMETHEUS))
    (record,) = caplog.records
    line = record.getMessage()
    assert record.levelname == "ERROR"
    assert line.startswith("OTEL_METRICS_EXPORTER='prometheus': prometheus would show one of")
    assert "OTEL_METRICS_EXPORTER=otlp" in line
    assert line.endswith("(metrics off)")
    with pytest.raises(ConfigurationError, match="prometheus"):
        validate({**PROMETHEUS, "OTEL_QUEUE_STRICT": "on"})


@pytest.mark.usefixtures("forked")
def test_other_exporters_beside_a_refused_one_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    """The signal stays on."""
    environ = {"OTEL_METRICS_EXPORTER": "prometheus,console"}
    assert metrics(environ) == ("console",)
    validate(environ)
    (record,) = caplog.records
    assert "off)" not in record.getMessage()


@pytest.mark.usefixtures("forked")
def test_refusal_is_reported_by_one_of_forked_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first process that checks reports it; the others log nothing."""
    monkeypatch.setattr(instance_id, "is_child", lambda: True)
    pid = os.fork()
    if not pid:
        os._exit(0 if read(PROMETHEUS).problems else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert read(PROMETHEUS).problems == ()
    assert metrics(PROMETHEUS) == ()


@pytest.mark.parametrize(("name", "speaks"), [("Process-1", True), ("Process-11", False)])
def test_refusal_is_reported_by_the_first_of_spawned_processes(
    name: str, speaks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Worker processes of Dramatiq import this package after they were forked."""
    monkeypatch.setattr(instance_id, "has_parent", lambda: True)
    monkeypatch.setattr(scraping, "LOST", shared_memory.Tally())
    named: Any = SimpleNamespace(name=name)
    monkeypatch.setattr(multiprocessing.process, "current_process", lambda: named)
    assert bool(read(PROMETHEUS).problems) is speaks
    assert metrics(PROMETHEUS) == ()


def test_siblings_check_is_not_called_without_a_scraped_exporter() -> None:
    """The check may be slow."""

    def fail() -> bool:
        raise AssertionError

    scraping.set_siblings_check(fail)
    assert metrics({"OTEL_METRICS_EXPORTER": "console"}) == ("console",)


def test_port_in_use_is_logged_with_the_remedy() -> None:
    """As with two web workers that do not know of each other."""
    line = scraping.describe(OSError(errno.EADDRINUSE, "Address already in use"))
    assert "another process has this port" in line
    assert "OTEL_METRICS_EXPORTER=otlp" in line
    assert scraping.describe(ValueError("http://u:p@h\nx")) == "ValueError: http://***@h x"
