"""Log records of failing tasks have the URL of their trace."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

import pytest

from otel_queue_plugins.sdk import enable_log_trace_url
from tests.sdk.programs import PAYING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import TracerProvider

LOGGER = logging.getLogger("tests.links")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a logger writes in a format that names the label."""
    monkeypatch.setenv("OTEL_QUEUE_TRACE_URL", "https://t/{trace_id}/{span_id}")
    enable_log_trace_url()
    enable_log_trace_url()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s [%(trace_url)s]"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    yield stream
    LOGGER.removeHandler(handler)


def test_record_of_a_task_has_the_url_from_warning_on(
    written: io.StringIO, tracer_provider: TracerProvider
) -> None:
    """What is no failure is not looked up."""
    PAYING.enter()
    with tracer_provider.get_tracer("tests").start_as_current_span("work") as span:
        LOGGER.info("fine")
        LOGGER.warning("used up")
        LOGGER.error("failed")
    PAYING.leave()
    context = span.get_span_context()
    url = f"https://t/{context.trace_id:032x}/{context.span_id:016x}"
    assert written.getvalue() == f"fine []\nused up [{url}]\nfailed [{url}]\n"


def test_record_outside_of_a_task_has_none(
    written: io.StringIO, tracer_provider: TracerProvider
) -> None:
    """Nor one in a task without a span."""
    with tracer_provider.get_tracer("tests").start_as_current_span("request"):
        LOGGER.error("failed")
    PAYING.enter()
    LOGGER.error("failed")
    PAYING.leave()
    assert written.getvalue() == "failed []\nfailed []\n"


def test_extra_of_the_caller_wins(written: io.StringIO) -> None:
    """As for the other labels."""
    LOGGER.error("failed", extra={"trace_url": "mine"})
    assert written.getvalue() == "failed [mine]\n"


def test_wrong_template_is_logged_once_and_fails_no_record(
    written: io.StringIO,
    tracer_provider: TracerProvider,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Though it is read while a record is made."""
    monkeypatch.setenv("OTEL_QUEUE_TRACE_URL", "jaeger")
    PAYING.enter()
    with tracer_provider.get_tracer("tests").start_as_current_span("work"):
        LOGGER.error("failed")
        LOGGER.error("failed")
    PAYING.leave()
    assert written.getvalue() == "failed []\nfailed []\n"
    problems = [each for each in caplog.records if each.name == "otel_queue_plugins"]
    assert len(problems) == 1
