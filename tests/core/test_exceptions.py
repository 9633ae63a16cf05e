"""Exceptions that cannot be printed or formatted, and the bounds of their texts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from opentelemetry import _logs
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from otel_queue_plugins.core import exceptions, safety
from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Message, Outcome
from tests.core.conftest import ROUTE, Queue

if TYPE_CHECKING:
    from collections.abc import Iterator


class SilentError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class UnformattableError(Exception):
    @property
    def __traceback__(self) -> None:
        raise RuntimeError("no trace")


def failed(queue: Queue, error: BaseException) -> dict[str, object]:
    """The attributes of a span that ended with `error`."""
    span = queue.process(queue.send(), Ending(outcome=Outcome.FAILURE, error=error))
    assert encode_spans([span]).SerializeToString()
    return dict(span.attributes)


def test_exception_without_str_is_recorded_with_its_type(queue: Queue) -> None:
    """The type replaces the message; the failure itself is recorded."""
    attributes = failed(queue, SilentError())
    assert attributes["error.type"] == f"{__name__}.SilentError"
    assert attributes["exception.message"] == f"<{__name__}.SilentError that cannot be printed>"
    assert "SilentError" in attributes["exception.stacktrace"]


def test_exception_without_traceback_is_recorded_with_type_and_message(queue: Queue) -> None:
    """Type and message replace the stack trace."""
    attributes = failed(queue, UnformattableError("text"))
    assert attributes["exception.stacktrace"] == f"{__name__}.UnformattableError: text"


def test_long_texts_of_exceptions_are_cut(queue: Queue) -> None:
    """A message has 1,024 characters, a stack trace its last 16 KiB, any other string 256."""
    attributes = failed(queue, type("E" * 9000, (Exception,), {})("m" * 2**20))
    assert len(attributes["exception.message"]) == exceptions.MAX_MESSAGE
    assert len(attributes["exception.stacktrace"]) == exceptions.MAX_STACKTRACE + 4
    assert attributes["exception.stacktrace"].startswith("...\n")
    assert len(attributes["error.type"]) == 256


def test_exception_with_surrogate_is_exported_with_question_mark(queue: Queue) -> None:
    """Half of a surrogate pair becomes a question mark; the batch can be encoded."""
    attributes = failed(queue, ValueError("a\ud800b"))
    assert attributes["exception.message"] == "a?b"
    assert "a?b" in attributes["exception.stacktrace"]


@pytest.mark.parametrize(
    ("signal", "events", "logs"), [("", 1, 0), ("logs", 0, 1), ("logs/dup", 1, 1)]
)
def test_exception_signal_selects_event_log_or_both(
    queue: Queue, records: InMemoryLogRecordExporter, signal: str, events: int, logs: int
) -> None:
    """The attributes are there in any case, and the log record has the span."""
    queue = queue.sibling(exception_signal=signal)
    carrier: dict[str, object] = {}
    send = queue.telemetry.start_send(Message(route=ROUTE, id="m"), carrier)
    queue.telemetry.end_send(send, OSError("away"))
    ending = Ending(outcome=Outcome.LOST, error=ValueError("bad"))
    queue.telemetry.record_undelivered(Delivery(route=ROUTE, id="m"), carrier, ending)
    found = [one.log_record for one in records.get_finished_logs()]
    logged = [
        (one.event_name, one.severity_number, one.attributes["exception.type"]) for one in found
    ]
    assert logged == logs * [
        ("messaging.send.exception", SeverityNumber.WARN, "OSError"),
        ("messaging.process.exception", SeverityNumber.ERROR, "ValueError"),
    ]
    for span in queue.spans():
        assert [event.name for event in span.events].count("exception") == events
        assert span.attributes["exception.stacktrace"]
    for one, span in zip(found, queue.spans(), strict=False):
        assert (one.trace_id, one.span_id) == (span.context.trace_id, span.context.span_id)
        assert one.timestamp == span.end_time


@pytest.fixture
def records() -> Iterator[InMemoryLogRecordExporter]:
    """Where log records of the global provider end up."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    _logs.set_logger_provider(provider)
    yield exporter
    provider.shutdown()


def test_failure_in_our_code_is_logged_once_without_values(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once a minute and place; the traceback only at DEBUG."""
    caplog.set_level(logging.DEBUG)

    @safety.never_raises(lambda: "fallback")
    def broken_here() -> str:
        raise ValueError("secret")

    assert [broken_here(), broken_here()] == ["fallback", "fallback"]
    warning, debug = caplog.records
    assert "secret" not in warning.getMessage()
    assert (warning.levelname, debug.levelname) == ("WARNING", "DEBUG")
    assert debug.exc_info is not None


def test_verbs_with_wrong_arguments_raise_nothing(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """Wrong facts lose their own telemetry, and nothing else."""
    nothing: object = None
    send = queue.telemetry.start_send(nothing, {})  # type: ignore[arg-type]
    queue.telemetry.end_send(send)
    operation = queue.telemetry.start_process(nothing, {})  # type: ignore[arg-type]
    queue.telemetry.end_process(operation, nothing)  # type: ignore[arg-type]
    queue.telemetry.end_process(queue.start({}), nothing)  # type: ignore[arg-type]
    queue.telemetry.record_undelivered(nothing, {}, nothing)  # type: ignore[arg-type]
    operation = queue.start({})
    queue.telemetry.requeue(operation, nothing)  # type: ignore[arg-type]
    queue.telemetry.end_process(operation, SUCCEEDED)
    assert len(queue.spans("process")) == 2
    assert all(len(one.getMessage()) < 1024 for one in caplog.records)
