"""Fixtures of all tests: in-memory telemetry, a clock, processes, and checks for leaks."""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import hypothesis
import pytest
from opentelemetry import _logs, context, metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_queue_plugins.core.metrics import observed
from otel_queue_plugins.core.settings import problems
from otel_queue_plugins.sdk.config import scraping
from tests.processes import Processes
from tests.services import amqp_url, managed_rabbitmq, redis_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["amqp_url", "managed_rabbitmq", "redis_url"]

_PROCESSES = pytest.StashKey[list[Processes]]()
_SHOWN_LINES = 100


@dataclass(slots=True)
class FakeClock:
    """A clock that stands still until `advance`. Calling it returns nanoseconds since the epoch."""

    now_ns: int = 1_700_000_000_000_000_000

    def __call__(self) -> int:
        """The time now."""
        return self.now_ns

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += round(seconds * 1e9)


def pytest_configure(config: pytest.Config) -> None:
    """Make TERM end a run like an interrupt, so that no server outlives it.

    A run in the background of a shell ignores interrupts; what it starts would inherit that.
    """
    # An example may take as long as the machine needs; CI tries the same ones in each run.
    hypothesis.settings.register_profile(
        "project", deadline=None, derandomize="CI" in os.environ, print_blob=True
    )
    hypothesis.settings.load_profile("project")
    config.addinivalue_line("markers", "slow: takes more than a few seconds")
    config.addinivalue_line(
        "markers",
        "timing: asserts an upper bound on time; noise of the machine is one-sided, so it is tried "
        "three times",
    )
    config.stash[_PROCESSES] = []
    signal.signal(signal.SIGTERM, _end_session)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        del os.environ[name]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why a test was tried again."""
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.section(f"why {report.nodeid} was tried again")
        terminalreporter.write_line("\n".join(report.longreprtext.splitlines()[-_SHOWN_LINES:]))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Try a failed test again. Not a property test: the next try may use other examples."""
    if not config.pluginmanager.hasplugin("rerunfailures"):
        return
    for item in items:
        if item.get_closest_marker("timing"):
            item.add_marker(pytest.mark.flaky(reruns=2))
        elif not item.get_closest_marker("hypothesis"):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the logs of running processes under a failed test."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if report.failed:
        for processes in item.config.stash[_PROCESSES]:
            report.sections.extend(processes.logs())
    return report  # type: ignore[return-value]


@pytest.fixture
def processes(pytestconfig: pytest.Config) -> Iterator[Processes]:
    """Processes that end with the test."""
    yield from _processes(pytestconfig)


@pytest.fixture(scope="module")
def module_processes(pytestconfig: pytest.Config) -> Iterator[Processes]:
    """Processes that end with the module (or with the parameter of a module's fixture)."""
    yield from _processes(pytestconfig)


@pytest.fixture
def fake_clock() -> FakeClock:
    """A clock that only the test moves."""
    return FakeClock()


@pytest.fixture
def span_exporter() -> InMemorySpanExporter:
    """The exporter of `tracer_provider`, which gets each span as it ends."""
    return InMemorySpanExporter()


@pytest.fixture
def tracer_provider(span_exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    """An SDK provider that is not the global one."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(span_exporter))
    yield provider
    provider.shutdown()


@pytest.fixture
def metric_reader() -> InMemoryMetricReader:
    """The reader of `meter_provider`."""
    return InMemoryMetricReader()


@pytest.fixture
def meter_provider(metric_reader: InMemoryMetricReader) -> Iterator[MeterProvider]:
    """An SDK provider that is not the global one."""
    provider = MeterProvider([metric_reader], shutdown_on_exit=False)
    yield provider
    provider.shutdown()


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """No context, `OTEL_*` variable, global provider or log level of a test is left for the next.

    A context that is left is a bug and fails the test; the rest is restored.
    """
    environment = dict(os.environ)
    problems.forget_reported()
    logging.root.setLevel(logging.WARNING)
    assert not context.get_current(), "an earlier test left something in the context"
    yield
    left = context.get_current()
    _forget_global_providers()
    for name in set(os.environ) - set(environment):
        if name.startswith("OTEL_"):
            del os.environ[name]
    if left:
        context.attach(context.Context())
    assert not left, f"left in the context: {dict(left)}"


@pytest.fixture(autouse=True, scope="module")
def no_worker_is_left() -> Iterator[None]:
    """A worker that ran in this process is none for the tests of the next module."""
    before = scraping._siblings.check
    yield
    scraping._siblings.check = before


def _processes(config: pytest.Config) -> Iterator[Processes]:
    processes = Processes()
    config.stash[_PROCESSES].append(processes)
    yield processes
    config.stash[_PROCESSES].remove(processes)
    processes.close()


def _end_session(number: int, _frame: FrameType | None) -> None:
    pytest.exit(f"ended by signal {number}", returncode=128 + number)


def _forget_global_providers() -> None:
    """The API has no public way to unset a provider; its own tests do it this way, too."""
    for module, name in (
        (trace, "TRACER"),
        (metrics._internal, "METER"),
        (_logs._internal, "LOGGER"),
    ):
        setattr(module, f"_{name}_PROVIDER", None)
        getattr(module, f"_{name}_PROVIDER_SET_ONCE")._done = False
    proxy = metrics._internal._PROXY_METER_PROVIDER
    observed._counts_by_provider.pop(proxy, None)
    proxy._real_meter_provider = None
    proxy._meters.clear()
