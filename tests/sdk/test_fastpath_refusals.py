"""Where the fast path is not proven to be equal it is not used, and the public API is used."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from functools import wraps
from typing import Any

import pytest
from opentelemetry import attributes as api_attributes
from opentelemetry import trace
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk import trace as sdk_trace
from opentelemetry.sdk import version as sdk_version
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics._internal import (
    _view_instrument_match,
    instrument,
    measurement,
    measurement_consumer,
)
from opentelemetry.sdk.metrics._internal import metric_reader_storage as storage
from opentelemetry.sdk.trace import SpanLimits, TracerProvider, sampling
from opentelemetry.trace import NoOpTracer

from otel_queue_plugins.sdk import fastpath
from otel_queue_plugins.sdk.fastpath import gate, histograms, span_start, trial
from otel_queue_plugins.sdk.fastpath.sampling import decider


@pytest.fixture(autouse=True)
def fresh_trials() -> Iterator[None]:
    """Each test runs the trials anew."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    trial.forget()
    gate.forget()
    fastpath._updates.clear()


@pytest.fixture
def tracer() -> Any:
    """A tracer of the SDK, as it is by default."""
    return TracerProvider(shutdown_on_exit=False).get_tracer("scope")


@pytest.fixture
def histogram() -> Any:
    """A histogram of the SDK, as it is by default."""
    provider = MeterProvider(shutdown_on_exit=False)
    if not hasattr(_view_instrument_match, "_hash_attributes"):
        pytest.skip("an SDK that does not hash attributes is not shortened")
    return provider.get_meter("scope").create_histogram("work")


def _as_another_would_patch(method: Any) -> Any:
    @wraps(method)
    def patched(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return patched


def test_fast_path_is_used_with_the_installed_sdk(tracer: Any, histogram: Any) -> None:
    """The other tests change one condition of this one."""
    assert fastpath.spans(tracer) is not None
    assert fastpath.bind(histogram) is not None


@pytest.mark.parametrize("value", ["off", "OFF", " false ", "0", "No"])
def test_fastpath_off_turns_all_parts_off(
    tracer: Any,
    histogram: Any,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """OTEL_QUEUE_FASTPATH=off: spans, measurements and updates use the API, without a log line."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OTEL_QUEUE_FASTPATH", value)
    assert fastpath.spans(tracer) is None
    assert fastpath.bind(histogram) is None
    assert not fastpath._updates
    assert caplog.records == []


def test_version_outside_the_table_turns_the_fast_path_off(
    tracer: Any,
    histogram: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One INFO line for spans and one for measurements: reason, cost and remedy."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sdk_version, "__version__", "1.99.0.dev1")
    for _ in range(2):
        assert fastpath.spans(tracer) is None
        assert fastpath.bind(histogram) is None
    assert [record.levelno for record in caplog.records] == [logging.INFO] * 2
    spans, measurements = (record.getMessage() for record in caplog.records)
    assert spans.startswith("the fast path for spans is not used, a message costs about 30 us more")
    assert measurements.startswith("the fast path for measurements is not used")
    for line in (spans, measurements):
        assert "opentelemetry-sdk 1.99.0.dev1 is not one of the versions" in line
        assert "OTEL_QUEUE_FASTPATH=on" in line


@pytest.mark.parametrize("value", ["on", "TRUE", "1"])
def test_fastpath_on_ignores_the_table_of_versions(
    tracer: Any, histogram: Any, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OTEL_QUEUE_FASTPATH=on; the trial must still come out equal."""
    monkeypatch.setattr(sdk_version, "__version__", "1.99.0")
    monkeypatch.setenv("OTEL_QUEUE_FASTPATH", value)
    assert fastpath.spans(tracer) is not None
    assert fastpath.bind(histogram) is not None
    with monkeypatch.context() as patch:
        trial.forget()
        _unequal_span(patch)
        assert fastpath.spans(tracer) is None


def test_version_that_needs_no_fast_path_logs_nothing(
    histogram: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """1.44 records measurements fast enough without it."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sdk_version, "__version__", "1.44.0")
    assert fastpath.bind(histogram) is None
    assert caplog.records == []


def test_forked_child_does_not_repeat_the_log_line(
    tracer: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A worker may start a hundred pool processes; the first process logs it for all."""
    monkeypatch.setattr(sdk_version, "__version__", "1.99.0")
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, force=True)
    for _ in range(2):
        pid = os.fork()
        if not pid:
            fastpath.spans(tracer)
            os._exit(0)
        os.waitpid(pid, 0)
    fastpath.spans(tracer)
    assert capfd.readouterr().err.count("the fast path for spans is not used") == 1


def test_log_line_names_attribute_limits_as_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    """A user who sets limits can see what they cost."""
    caplog.set_level(logging.INFO)
    limits = SpanLimits(max_span_attributes=10)
    provider = TracerProvider(span_limits=limits, shutdown_on_exit=False)
    assert fastpath.spans(provider.get_tracer("scope")) is None
    assert "limits of attributes are set" in caplog.text


def test_import_of_the_fast_path_loads_no_sdk() -> None:
    """A process that does not use the SDK has no cost."""
    code = (
        "import sys, otel_queue_plugins.sdk.fastpath as s;"
        "from opentelemetry import trace, metrics;"
        "assert s.spans(trace.get_tracer('x')) is None;"
        "assert s.bind(metrics.get_meter('x').create_histogram('x')) is None;"
        "sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_tracer_of_another_library_has_no_fast_path(tracer: Any) -> None:
    """No-op tracers, wrappers and subclasses are used as they are."""

    class Wrapper(sdk_trace.Tracer):
        pass

    subclass = object.__new__(Wrapper)
    vars(subclass).update(vars(tracer))
    for other in (NoOpTracer(), subclass, types.SimpleNamespace(start_span=None)):
        assert fastpath.spans(other) is None  # type: ignore[arg-type]


def test_histogram_of_another_library_has_no_fast_path(histogram: Any) -> None:
    """No-op instruments and subclasses are used as they are."""

    class Wrapper(instrument._Histogram):
        pass

    subclass = object.__new__(Wrapper)
    vars(subclass).update(vars(histogram))
    no_op = NoOpMeterProvider().get_meter("scope").create_histogram("work")
    assert fastpath.bind(no_op) is None
    assert fastpath.bind(subclass) is None


def test_proxy_tracer_has_a_fast_path_once_there_is_a_provider() -> None:
    """A tracer that was got early uses the real one once a provider is set."""
    early = trace.get_tracer("early")
    assert fastpath.spans(early) is None
    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
    assert fastpath.spans(early) is not None


@pytest.mark.parametrize(
    "limits",
    [
        {"max_span_attributes": 10},
        {"max_attributes": 10},
        {"max_link_attributes": 1},
        {"max_attribute_length": 20},
        {"max_span_attribute_length": 20},
        {"max_span_attributes": SpanLimits.UNSET},
    ],
    ids=str,
)
def test_tracer_with_attribute_limits_has_no_fast_path(limits: dict[str, int]) -> None:
    """With other limits than the defaults the SDK has to check every attribute."""
    provider = TracerProvider(span_limits=SpanLimits(**limits), shutdown_on_exit=False)
    assert fastpath.spans(provider.get_tracer("scope")) is None


def test_set_attributes_applies_the_limits_of_other_spans(tracer: Any) -> None:
    """A span of another provider has the limits of that provider."""
    assert fastpath.spans(tracer) is not None
    strict = SpanLimits(max_span_attributes=2, max_span_attribute_length=3)
    other = TracerProvider(span_limits=strict, shutdown_on_exit=False).get_tracer("other")
    span: Any = other.start_span("n")
    fastpath.set_attributes(span, {"a": "12345", "b": "1", "c": "2"})
    assert dict(span.attributes) == {"b": "1", "c": "2"}
    fastpath.set_attributes(span, {"c": "67890"})
    assert dict(span.attributes) == {"b": "1", "c": "678"}


@pytest.mark.parametrize("name", ["start_span", "_is_enabled"])
def test_patched_tracer_class_has_no_fast_path(
    tracer: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A patched method of the SDK has to be called."""
    patched = _as_another_would_patch(getattr(sdk_trace.Tracer, name))
    monkeypatch.setattr(sdk_trace.Tracer, name, patched)
    assert fastpath.spans(tracer) is None


def test_patched_tracer_object_has_no_fast_path(tracer: Any) -> None:
    """Also if only this tracer is patched."""
    tracer.start_span = _as_another_would_patch(tracer.start_span)
    assert fastpath.spans(tracer) is None


@pytest.mark.parametrize("name", ["__init__", "start", "set_attributes", "add_event", "_new_links"])
def test_patched_span_class_has_no_fast_path(
    tracer: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Methods that the fast path does not call must be the SDK's own."""
    patched = _as_another_would_patch(getattr(sdk_trace._Span, name))
    monkeypatch.setattr(sdk_trace._Span, name, patched)
    assert fastpath.spans(tracer) is None


def test_sampler_of_another_library_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """No decision means that the sampler, or its delegate, has to be called."""
    decide = decider()
    assert decide(sampling.DEFAULT_ON, None, 1) is sampling.Decision.RECORD_AND_SAMPLE
    own: Any = sampling.StaticSampler(sampling.Decision.DROP)
    parent_based: Any = sampling.ParentBased(own)
    assert decide(parent_based, None, 1) is sampling.Decision.DROP
    own.should_sample = _as_another_would_patch(own.should_sample)
    assert decide(own, None, 1) is None
    assert decide(parent_based, None, 1) is None
    parent_based._root = sampling.ALWAYS_ON
    assert decide(parent_based, None, 1) is sampling.Decision.RECORD_AND_SAMPLE
    parent_based.should_sample = _as_another_would_patch(parent_based.should_sample)
    assert decide(parent_based, None, 1) is None
    patched = _as_another_would_patch(sampling.StaticSampler.should_sample)
    monkeypatch.setattr(sampling.StaticSampler, "should_sample", patched)
    assert decider()(sampling.DEFAULT_ON, None, 1) is None


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (instrument._Histogram, "record"),
        (instrument._Histogram, "_is_enabled"),
        (measurement_consumer.SynchronousMeasurementConsumer, "consume_measurement"),
        (storage.MetricReaderStorage, "consume_measurement"),
        (_view_instrument_match._ViewInstrumentMatch, "consume_measurement"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_patched_metrics_class_has_no_fast_path(
    histogram: Any, owner: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Methods that the fast path does not call must be the SDK's own."""
    monkeypatch.setattr(owner, name, _as_another_would_patch(getattr(owner, name)))
    assert fastpath.bind(histogram) is None


def test_patched_histogram_has_no_fast_path(histogram: Any) -> None:
    """Also if only this instrument, or its consumer, is of another library."""
    counter = MeterProvider(shutdown_on_exit=False).get_meter("scope").create_counter("count")
    assert fastpath.bind(counter) is None  # type: ignore[arg-type]
    consumer = histogram._measurement_consumer
    histogram._measurement_consumer = types.SimpleNamespace(consume_measurement=print)
    assert fastpath.bind(histogram) is None
    histogram._measurement_consumer = consumer
    histogram.record = _as_another_would_patch(histogram.record)
    assert fastpath.bind(histogram) is None


def test_exemplar_filter_of_the_application_has_no_fast_path() -> None:
    """It may do anything with the attributes."""

    class Mine(AlwaysOnExemplarFilter):
        pass

    provider = MeterProvider(exemplar_filter=Mine(), shutdown_on_exit=False)
    assert fastpath.bind(provider.get_meter("scope").create_histogram("work")) is None


class _SpanOfTomorrow(sdk_trace._Span):
    """A span of a later SDK, with one more field."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._news = object()


class _AttributesOfTomorrow(api_attributes.BoundedAttributes):
    """Attributes of a later SDK, which count their items."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.size = 0
        super().__init__(*args, **kwargs)

    def _setitem_locked(self, key: str, value: Any) -> None:
        super()._setitem_locked(key, value)
        self.size += 1


def _broken_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk_trace, "_Span", _SpanOfTomorrow)


def _broken_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk_trace, "BoundedAttributes", _AttributesOfTomorrow)


def _broken_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    class Recording:
        def start_span(self, parent: object, decision: object, kind: object) -> None:
            """Has one more argument than today."""

    init = sdk_trace.Tracer.__init__

    def patched(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        self._tracer_metrics = Recording()

    monkeypatch.setattr(sdk_trace.Tracer, "__init__", patched)


def _broken_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk_trace, "BoundedList", lambda _maxlen: [])


def _broken_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sampling.StaticSampler, "should_sample")


def _unequal_span(monkeypatch: pytest.MonkeyPatch) -> None:
    original = span_start.fast_start

    def unequal(tracer: Any) -> Any:
        start_span: Any = original(tracer)
        return lambda name, *rest: start_span(f"{name}!", *rest)

    monkeypatch.setattr(span_start, "fast_start", unequal)


@pytest.mark.parametrize(
    "break_sdk",
    [
        _broken_span,
        _broken_attributes,
        _broken_metrics,
        _broken_list,
        _broken_decision,
        _unequal_span,
    ],
)
def test_spans_of_a_changed_sdk_have_no_fast_path(
    tracer: Any, break_sdk: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A trial that differs or raises turns it off for good, with one INFO line."""
    caplog.set_level(logging.INFO, "otel_queue_plugins")
    with monkeypatch.context() as patch:
        break_sdk(patch)
        assert fastpath.spans(tracer) is None
    assert fastpath.spans(tracer) is None
    ours = [entry for entry in caplog.records if entry.name == "otel_queue_plugins"]
    assert [entry.levelno for entry in ours] == [logging.INFO]
    span: Any = tracer.start_span("n")
    fastpath.set_attributes(span, {"a": 1})
    assert dict(span.attributes) == {"a": 1}


def _broken_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {**measurement.Measurement.__dataclass_fields__, "news": None}
    monkeypatch.setattr(measurement.Measurement, "__dataclass_fields__", fields)


def _broken_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(_view_instrument_match, "_hash_attributes")


def _other_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK hashes in another way; ours would open a second series."""
    own = _view_instrument_match._hash_attributes
    match = _view_instrument_match._ViewInstrumentMatch
    create = match._get_or_create_aggregation

    def other(self: Any, key: Any, attributes: Any) -> Any:
        return create(
            self, key if key == own({}) else (key, len(self._attributes_aggregation)), attributes
        )

    monkeypatch.setattr(match, "_get_or_create_aggregation", other)


def _broken_match(monkeypatch: pytest.MonkeyPatch) -> None:
    match = _view_instrument_match._ViewInstrumentMatch
    create = match._get_or_create_aggregation
    monkeypatch.delattr(match, "_get_or_create_aggregation")
    monkeypatch.setattr(match, "_find_aggregation", create, raising=False)


def _unequal_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    original = histograms.fast_record

    def unequal(histogram: Any) -> Any:
        record: Any = original(histogram)
        return lambda value, *rest: record(value + 1, *rest)

    monkeypatch.setattr(histograms, "fast_record", unequal)


@pytest.mark.parametrize(
    "break_sdk",
    [_broken_measurement, _broken_hash, _other_hash, _broken_match, _unequal_measurement],
)
def test_measurements_of_a_changed_sdk_have_no_fast_path(
    histogram: Any,
    break_sdk: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A trial that differs or raises turns it off for good, with one INFO line."""
    caplog.set_level(logging.INFO, "otel_queue_plugins")
    with monkeypatch.context() as patch:
        break_sdk(patch)
        assert fastpath.bind(histogram) is None
    assert fastpath.bind(histogram) is None
    ours = [entry for entry in caplog.records if entry.name == "otel_queue_plugins"]
    assert [entry.levelno for entry in ours] == [logging.INFO]


def test_trial_exports_nothing(caplog: pytest.LogCaptureFixture, tracer: Any) -> None:
    """A trial that passes logs nothing, and runs once."""
    caplog.set_level(logging.DEBUG)
    fastpath.spans(tracer)
    fastpath.spans(tracer)
    assert caplog.records == []
    assert [trial.cache_info().misses for trial in trial._trials] == [1, 0, 0]
