"""Log records that we encode are equal to those of the official encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, set_span_in_context

from otel_queue_plugins.sdk.fastpath import encoding
from tests.sdk import encoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_queue_plugins.sdk.fastpath.encoding.encoder import Encoder

in_contexts = st.just(Context()) | encoded.contexts.map(
    lambda each: set_span_in_context(NonRecordingSpan(each), Context())
)


def _log_record(facts: dict[str, Any]) -> LogRecord:
    """A log record with those fields, also where its constructor would set others."""
    record = LogRecord(context=Context())
    vars(record).update(facts)
    return record


odd_records = encoded.mostly_sound(
    {
        "timestamp": encoded.sound_times,
        "observed_timestamp": encoded.sound_times,
        "trace_id": st.integers(0, 2**128 - 1),
        "span_id": st.integers(0, 2**64 - 1),
        "trace_flags": st.integers(0, 3),
        "severity_text": encoded.sound_texts,
        "severity_number": st.sampled_from(SeverityNumber),
        "body": encoded.sound_values,
        "attributes": encoded.sound_mappings | encoded.sound_bounded,
        "event_name": encoded.sound_texts,
    },
    {
        "timestamp": encoded.times,
        "observed_timestamp": encoded.times,
        "trace_id": st.sampled_from([None, 0, False, 2**128, -1]),
        "span_id": st.sampled_from([None, 0, False, 2**64, -1]),
        "trace_flags": st.none() | st.just("1"),
        "severity_text": st.none() | encoded.texts | encoded.no_texts,
        "severity_number": st.sampled_from([None, 9]),
        "body": encoded.values,
        "attributes": encoded.attributes,
        "event_name": st.none() | encoded.texts | encoded.no_texts,
    },
).map(_log_record)
sound_records = st.builds(
    LogRecord,
    timestamp=st.none() | st.integers(0, 2**64 - 1),
    observed_timestamp=st.integers(1, 2**64 - 1),
    context=in_contexts,
    severity_text=st.none() | encoded.sound_texts,
    severity_number=st.none() | st.sampled_from(SeverityNumber),
    body=st.none() | encoded.sound_values,
    attributes=st.none() | encoded.sound_bounded,
    event_name=st.none() | encoded.sound_texts,
)


def readable(records: st.SearchStrategy[LogRecord]) -> st.SearchStrategy[ReadableLogRecord]:
    """A log record as exporters get it."""
    return st.builds(ReadableLogRecord, records, encoded.resources, encoded.scopes)


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """Without the SDK's warnings about odd values."""
    with encoded.quietly():
        yield


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """One encoder for all tests, so that its caches are used."""
    made = encoding.log_encoder()
    assert made is not None
    return made


ODD = [
    *({"severity_text": each} for each in encoded.NO_TEXTS),
    *({"event_name": each} for each in encoded.NO_TEXTS),
    *({"timestamp": each} for each in encoded.NO_TIMES),
    *({"observed_timestamp": each} for each in encoded.NO_TIMES),
    *({"trace_id": each} for each in (None, 0, False, True, 2**128, -1, 1.0)),
    *({"span_id": each} for each in (None, 0, False, True, 2**64, -1, 1.0)),
    *({"trace_flags": each} for each in (None, "1", 1.0, 1.5, -1, 2**32, True)),
    *({"severity_number": each} for each in (None, 0, 9, encoded.Number.ONE, encoded.Word.A)),
    *({"body": each} for each in (None, "", 2**64, "\ud800", object(), [object()], {"a": {1}})),
    *({"attributes": each} for each in (None, (), [], 0, 1, {1: 1}, {"a": object()})),
]


@pytest.mark.parametrize("odd", ODD, ids=" ".join)
def test_log_record_with_an_unusual_field_is_encoded_as_officially(
    encoder: Encoder, odd: dict[str, Any]
) -> None:
    """One field is unusual: it is encoded, left out or raises, as officially."""
    record = LogRecord(timestamp=1, severity_text="INFO", body="a", event_name="b")
    vars(record).update(odd)
    encoded.assert_same(encoder, [ReadableLogRecord(record, Resource({}))])


@encoded.many
@given(batch=st.lists(readable(sound_records), max_size=4))
def test_log_records_of_the_sdk_are_encoded_as_officially(
    encoder: Encoder, batch: list[ReadableLogRecord]
) -> None:
    """Resources and scopes have the official order; the official encoder is not called."""
    encoded.assert_same(encoder, batch)
    for record in batch:
        encoder.signal.encode(record)


@encoded.many
@given(batch=st.lists(readable(odd_records), max_size=3))
def test_any_batch_of_log_records_is_encoded_as_officially(
    encoder: Encoder, batch: list[ReadableLogRecord]
) -> None:
    """With any fields that a log record may have."""
    encoded.assert_same(encoder, batch)
