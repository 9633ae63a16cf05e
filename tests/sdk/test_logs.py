"""Log records have their trace and task, and can be exported over OTLP."""

from __future__ import annotations

import io
import logging
import logging.config
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import TracerProvider

from otel_queue_plugins.sdk import enable_log_correlation
from tests.sdk.programs import PAYING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.receiver import FaultyReceiver
    from tests.sdk.conftest import Programs, Receiver

FORMAT = "%(message)s %(trace_id)s %(span_id)s %(task_id)s %(task_name)s"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a logger `tests.logs` writes in a format that names all four labels."""
    enable_log_correlation()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(FORMAT))
    logger = logging.getLogger("tests.logs")
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def test_log_record_in_a_task_has_trace_and_task(
    written: io.StringIO, tracer_provider: TracerProvider
) -> None:
    """trace_id and span_id as every backend writes them: 32 and 16 hex digits."""
    PAYING.enter()
    with tracer_provider.get_tracer("tests").start_as_current_span("work") as span:
        logging.getLogger("tests.logs").warning("hello")
    PAYING.leave()
    context = span.get_span_context()
    assert written.getvalue() == (
        f"hello {context.trace_id:032x} {context.span_id:016x} id-1 shop.pay\n"
    )


def test_log_record_outside_a_task_has_empty_labels(written: io.StringIO) -> None:
    """A format string may name the labels everywhere."""
    logging.getLogger("tests.logs").warning("hello")
    assert written.getvalue() == "hello    \n"


def test_log_record_extra_of_the_caller_wins(written: io.StringIO) -> None:
    """With a record factory, `extra={"task_id": ...}` would raise KeyError in user code."""
    logging.getLogger("tests.logs").warning("hello", extra={"task_id": "mine", "trace_id": "t"})
    assert written.getvalue() == "hello t  mine \n"


def test_log_labels_survive_new_handlers_and_record_factories(
    tracer_provider: TracerProvider,
) -> None:
    """Celery empties the root logger's handlers, `dictConfig` replaces them."""
    enable_log_correlation()
    enable_log_correlation()
    logging.setLogRecordFactory(logging.LogRecord)
    seen: list[logging.LogRecord] = []

    class Seeing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    handler = Seeing()
    logger = logging.getLogger("tests.late")
    logger.addHandler(handler)
    with tracer_provider.get_tracer("tests").start_as_current_span("work") as span:
        logger.warning("hello")
    assert vars(seen[0])["trace_id"] == f"{span.get_span_context().trace_id:032x}"


def test_log_records_are_exported_when_configured(
    programs: Programs, receiver: Receiver, protocol: str
) -> None:
    """`OTEL_LOGS_EXPORTER=otlp`: body, severity, trace and task, with any handlers."""
    program = programs.start(
        "logging_script", endpoint=receiver.endpoint, protocol=protocol, OTEL_LOGS_EXPORTER="otlp"
    )
    assert program.wait() == 0
    receiver.until(lambda: len(receiver.logs()) >= 3, "3 records", 2)
    inside, outside, failed = receiver.logs()
    span = receiver.expect_span("work", timeout=30)
    assert (inside.body, inside.severity) == ("paid 7 times", "WARN")
    assert (inside.trace_id, inside.span_id) == (span.trace_id, span.span_id)
    assert inside.attributes["taskqueue.task.name"] == "shop.pay"
    assert inside.attributes["messaging.message.id"] == "id-1"
    assert inside.attributes["code.function.name"] == "logging_script"
    assert inside.attributes["customer"] == 12
    assert (outside.body, outside.trace_id) == ("outside", "")
    assert failed.attributes["exception.type"] == "ZeroDivisionError"
    assert "1 / 0" in str(failed.attributes["exception.stacktrace"])
    assert failed.severity == "ERROR"


def test_log_records_are_not_exported_by_default(
    programs: Programs, http_receiver: FaultyReceiver
) -> None:
    """An endpoint alone exports traces and metrics: log records may have secrets."""
    program = programs.start("logging_script", endpoint=http_receiver.endpoint)
    assert program.wait() == 0
    http_receiver.expect_span("work", timeout=30)
    assert http_receiver.requests("/v1/logs") == []
