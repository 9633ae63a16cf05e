"""Where our encoder is not proven to be equal, the official one is used."""

from __future__ import annotations

import subprocess
import sys
from functools import wraps
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common._internal import trace_encoder
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status

from otel_queue_plugins.sdk.fastpath import encoding, gate
from otel_queue_plugins.sdk.fastpath.encoding import encoding_trial, proven, signals
from tests.sdk import encoded

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def fresh_trials() -> Iterator[None]:
    """Each test runs the trials anew."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    encoding.span_encoder.cache_clear()
    encoding.log_encoder.cache_clear()
    gate.forget()


def test_encoders_are_proven_with_the_installed_sdk() -> None:
    """The other tests change one condition of this one."""
    assert encoding.span_encoder() is not None
    assert encoding.log_encoder() is not None


@pytest.mark.parametrize("value", ["off", "OFF", " false ", "0"])
def test_fastpath_off_turns_the_encoders_off(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_QUEUE_FASTPATH=off."""
    monkeypatch.setenv("OTEL_QUEUE_FASTPATH", value)
    assert encoding.span_encoder() is None
    assert encoding.log_encoder() is None


@pytest.mark.parametrize(
    "name", ["opentelemetry.sdk.version.__version__", f"{proven.__name__}.encoder_version"]
)
@pytest.mark.parametrize("version", ["1.43.9", "1.46.0", "1.4", "2.44.0"])
def test_version_outside_the_table_turns_the_encoders_off(
    name: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version may encode differently; `on` uses the encoder all the same."""
    monkeypatch.setattr(name, version)
    assert encoding.span_encoder() is None
    assert encoding.log_encoder() is None
    _forget()
    monkeypatch.setenv("OTEL_QUEUE_FASTPATH", "on")
    assert encoding.span_encoder() is not None
    assert encoding.log_encoder() is not None


def _as_another_would_patch(method: Any) -> Any:
    @wraps(method)
    def patched(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return patched


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        *((ReadableSpan, name) for name in ("attributes", "name", "links", "dropped_events")),
        *((Event, "attributes"), (Link, "attributes"), (Status, "description")),
        *((SpanContext, "span_id"), (BoundedAttributes, "__iter__"), (BoundedList, "__iter__")),
    ],
)
def test_patched_class_turns_the_encoders_off(
    cls: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A patch may hide a value from the official encoder."""
    member = vars(cls)[name]
    is_property = isinstance(member, property)
    patched = _as_another_would_patch(member.fget if is_property else member)
    monkeypatch.setattr(cls, name, property(patched) if is_property else patched)
    assert encoding.span_encoder() is None
    assert encoding.log_encoder() is None


def test_patched_official_encoder_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A patch may make the official encoder export more."""
    patched = _as_another_would_patch(signals.encode_spans)
    monkeypatch.setattr(signals, "encode_spans", patched)
    assert encoding.span_encoder() is None


def test_different_trial_turns_the_span_encoder_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The official encoder decides."""
    original = trace_encoder._span_flags
    monkeypatch.setattr(trace_encoder, "_span_flags", lambda parent: original(parent) | 1)
    assert encoding.span_encoder() is None
    assert encoding.log_encoder() is not None


@pytest.mark.parametrize("error", [AttributeError, TypeError, ImportError])
def test_failing_trial_turns_the_encoder_off_and_is_logged(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Export goes on with the official encoder, and a log line has the reason."""

    def fail() -> Any:
        raise error("no such thing")

    monkeypatch.setattr(encoding_trial, "spans", fail)
    with caplog.at_level("DEBUG", "otel_queue_plugins"):
        assert encoding.span_encoder() is None
    assert "no such thing" in caplog.text


def test_trial_with_a_record_left_to_the_official_encoder_does_not_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An encoder that leaves everything to the official one would only cost more."""
    record = encoded.ended_span(attributes={"a": 2**64})
    monkeypatch.setattr(encoding_trial, "spans", lambda: [record])
    assert encoding.span_encoder() is None


class Hiding(ReadableSpan):
    """A subclass of a span that shows less than it has."""

    @property
    def attributes(self) -> Any:
        return {"shown": 1}


class OwnResource(Resource):
    @property
    def attributes(self) -> Any:
        return {"shown": 1}


class OwnScope(InstrumentationScope):
    __slots__ = ()


class OwnContext(SpanContext):
    @property
    def span_id(self) -> int:
        return 7


class OwnAttributes(BoundedAttributes):
    def __iter__(self) -> Any:
        return iter(["a"])


class MoreAttributes(BoundedAttributes):
    """Attributes that count dropped ones, as those of the SDK do."""


@pytest.mark.parametrize(
    "span",
    [
        encoded.ended_span(Hiding, attributes={"a": 1}),
        encoded.ended_span(resource=OwnResource({"a": 1})),
        encoded.ended_span(instrumentation_scope=OwnScope("a")),
        encoded.ended_span(context=OwnContext(1, 1, is_remote=False)),
        encoded.ended_span(parent=OwnContext(1, 1, is_remote=False)),
        encoded.ended_span(links=[Link(OwnContext(1, 1, is_remote=False))]),
        encoded.ended_span(attributes=OwnAttributes(attributes={"a": 1, "b": 2})),
        encoded.ended_span(attributes=MoreAttributes(1, {"a": 1, "b": 2})),
    ],
    ids=lambda span: type(span).__name__,
)
def test_subclasses_are_encoded_by_their_public_properties(span: ReadableSpan) -> None:
    """Only the exact classes of the SDK are encoded by their private fields."""
    encoder = encoding.span_encoder()
    assert encoder is not None
    plain = encoded.ended_span(attributes={"a": 1, "b": 2})
    encoded.assert_same(encoder, [span])
    encoded.assert_same(encoder, [plain, span, plain])


def test_import_of_the_encoding_loads_no_sdk() -> None:
    """A process that exports nothing has no cost."""
    code = (
        "import sys, otel_queue_plugins.sdk.fastpath.encoding.attaching;"
        "sys.exit(any(name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))"
        " for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
