"""A test span, metric or log record for the backend, and what the backend says to it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from html import unescape
from re import sub
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.cli.doctor.background import Background
from otel_queue_plugins.cli.queues.failures import printable
from otel_queue_plugins.core import semconv
from otel_queue_plugins.sdk.diagnosis import causes
from otel_queue_plugins.sdk.diagnosis.kept_failures import KeptFailures
from otel_queue_plugins.sdk.diagnosis.remedies import RETRIED, without_headers
from otel_queue_plugins.version import VERSION

if TYPE_CHECKING:
    from otel_queue_plugins.sdk.config.targets import Target
    from otel_queue_plugins.sdk.diagnosis.export_calls import ExportCall

NAME: Final = "doctor"
_LONGEST: Final = 300
_LEAST_S: Final = 0.2
_ANSWERED: Final = "answered "
_FEW: Final = 20
_UNANSWERED: Final = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")


@dataclass(frozen=True, slots=True, kw_only=True)
class TestExport:
    """What became of it. `words` say why it failed, `fix` what to do, `said` are the backend's own.

    `is_answered` says that the backend has answered at all, `may_pass` that the settings may be
    right all the same. `trace_id` is that of a test span, in hexadecimal.
    """

    signal: str
    ok: bool
    words: str = ""
    fix: str = ""
    said: str = ""
    is_answered: bool = False
    may_pass: bool = False
    trace_id: str = ""


def keep_failures() -> KeptFailures:
    """Keep the facts about exports that fail from now on, instead of logging them."""
    return KeptFailures.install()


def started(target: Target, failures: KeptFailures, seconds: float) -> Background[TestExport]:
    """Begin to export to `target`; it ends at the first failed attempt."""
    bounded = max(_LEAST_S, round(min(target.timeout, seconds), 1))  # people see it
    return Background(lambda: _export(replace(target, timeout=bounded), failures))


def without_answer(signal: str, seconds: float) -> TestExport:
    """For one that hangs."""
    return TestExport(
        signal=signal, ok=False, words=f"no answer within {seconds:g} s", may_pass=True
    )


def _export(target: Target, failures: KeptFailures) -> TestExport:
    try:
        exporter, batch, trace_id = _MAKERS[target.signal](target)
    except Exception as error:  # noqa: BLE001 - a certificate that is none, for example
        words = f"the exporter cannot be made: {type(error).__name__}: {error}"
        return TestExport(signal=target.signal, ok=False, words=without_headers(target, words))
    attempt = Background(lambda: exporter.export(batch))
    call = failures.wait(target.signal, attempt.is_done, target.timeout + _LEAST_S)
    # It would try again until its time is over; the first failure says enough.
    exporter.shutdown()
    try:
        is_taken = call is None and attempt.result(_LEAST_S).name == "SUCCESS"
    except TimeoutError:
        return without_answer(target.signal, target.timeout)
    except Exception as error:  # noqa: BLE001 - the words are shown
        words = without_headers(target, f"{type(error).__name__}: {error}")
        return TestExport(signal=target.signal, ok=False, words=words)
    if is_taken:
        return TestExport(signal=target.signal, ok=True, is_answered=True, trace_id=trace_id)
    call = call or failures.wait(target.signal, attempt.is_done, 0)
    if call is None:
        return TestExport(signal=target.signal, ok=False, words="the exporter does not say why")
    return _failed(target, call)


def _failed(target: Target, call: ExportCall) -> TestExport:
    cause = causes.cause_of(call)
    is_answered = call.answer is not None or (call.code not in {"", *_UNANSWERED})
    said = _cleaned(target, call.answer.body if call.answer else call.details)
    words, fix = _parts(cause.words, said)
    if not is_answered or said in words:
        said = ""
    return TestExport(
        signal=target.signal,
        ok=False,
        words=words,
        fix=fix,
        said=said,
        is_answered=is_answered,
        may_pass=cause.effect == RETRIED,
    )


def _parts(words: str, said: str) -> tuple[str, str]:
    """What has happened, and what to do, where the words of a cause have both."""
    for separator in (": ", "; ") if words.startswith(_ANSWERED) else ("; ",):
        what, found, fix = words.partition(separator)
        if found and not (said and fix.startswith(said[:_FEW])):
            return what, fix
    return words, ""


def _cleaned(target: Target, text: str) -> str:
    """The words of a server as one line: no markup, no control characters, none of our headers."""
    if text.lstrip().startswith("<"):
        text = unescape(sub(r"(?is)<(style|script).*?</\1>|<[^>]*>", " ", text))
    return without_headers(target, printable(" ".join(text.split())))[:_LONGEST]


def _span(target: Target) -> tuple[Any, Any, str]:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    from otel_queue_plugins.sdk.export import otlp_exporters
    from otel_queue_plugins.sdk.providers import factory

    provider = TracerProvider(
        sampler=ALWAYS_ON, resource=factory.resource(), shutdown_on_exit=False
    )
    tracer = provider.get_tracer(semconv.SCOPE, VERSION, schema_url=semconv.SCHEMA_URL)
    span: Any = tracer.start_span(NAME, attributes={semconv.ADMIN_OPERATION: NAME})
    span.end()
    exporter = otlp_exporters.span_exporter(target)
    return exporter, [span], f"{span.get_span_context().trace_id:032x}"


def _metric(target: Target) -> tuple[Any, Any, str]:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from otel_queue_plugins.sdk.config import metric_preferences
    from otel_queue_plugins.sdk.export import otlp_exporters
    from otel_queue_plugins.sdk.providers import factory

    reader = InMemoryMetricReader(
        preferred_temporality=metric_preferences.temporality(),
        preferred_aggregation=metric_preferences.aggregation(),
    )
    provider = MeterProvider([reader], resource=factory.resource(), shutdown_on_exit=False)
    meter = provider.get_meter(semconv.SCOPE, VERSION, schema_url=semconv.SCHEMA_URL)
    # A series that is there already, and true: this process has dropped nothing.
    meter.create_counter(semconv.DROPPED, "{span}").add(0, {semconv.DROP_REASON: NAME})
    return otlp_exporters.metric_exporter(target), reader.get_metrics_data(), ""


def _log_record(target: Target) -> tuple[Any, Any, str]:
    from opentelemetry._logs import LogRecord, SeverityNumber
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

    from otel_queue_plugins.sdk.export import otlp_exporters
    from otel_queue_plugins.sdk.providers import factory

    make: Any = InMemoryLogRecordExporter
    kept = make()
    provider = LoggerProvider(resource=factory.resource(), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
    provider.get_logger(semconv.SCOPE, VERSION).emit(
        LogRecord(
            timestamp=time.time_ns(), severity_number=SeverityNumber.INFO, body="otel-queue doctor"
        )
    )
    return otlp_exporters.log_exporter(target), kept.get_finished_logs(), ""


_MAKERS: Final = {"traces": _span, "metrics": _metric, "logs": _log_record}
