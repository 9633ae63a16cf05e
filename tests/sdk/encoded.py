"""Values of all kinds to encode, and the comparison with the official encoder."""

from __future__ import annotations

import enum
import logging
from collections import UserDict, deque
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError, Message
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags, TraceState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from otel_queue_plugins.sdk.fastpath.encoding.encoder import Encoder


many = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


class Word(str, enum.Enum):
    A = "a"
    UMLAUT = "\u00e4"


class Number(enum.IntEnum):
    ONE = 1
    MANY = 2**40


class Ratio(float):
    pass


class Loud(str):
    """A string subclass whose `str()` differs from its value."""

    __slots__ = ()

    def __str__(self) -> str:
        return "LOUD"


class Closed(UserDict[str, int]):
    """A mapping that nobody may look into."""

    def items(self) -> Any:
        raise RuntimeError


# With lone surrogates, which UTF-8 does not have.
texts = st.text(st.characters(exclude_categories=()), max_size=20) | st.text(max_size=300)
NO_TEXTS = (None, 0, 1, False, b"", b"a", b"\xff", (), "\ud800")
NO_TIMES = (None, -1, 2**64, 1.0, 1.5, True, False, "1", Number.ONE)
no_texts = st.sampled_from(NO_TEXTS)
numbers = (
    st.integers(-300, 300)
    | st.integers(-(2**70), 2**70)
    | st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64])
)
# Equal, or nearly so, and of different types.
_alike = st.sampled_from([1, True, 1.0, "1", b"1", Number.ONE, 0, False, 0.0, -0.0, "", None])
_scalars = _alike | texts | numbers | st.booleans() | st.floats() | st.binary(max_size=200)
_odd = st.sampled_from(
    [
        *(Word.A, Word.UMLAUT, Number.MANY, Ratio(0.5), Loud("quiet"), object(), {1, 2}, 1j),
        *(range(3), deque("a"), bytearray(b"ab"), memoryview(b"ab"), Closed(a=1)),
        *(MappingProxyType({"a": 1}), UserDict(a=1), UserDict({"\ud800": 1})),
    ]
)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, max_size=4)
    return lists | lists.map(tuple) | st.dictionaries(texts | st.integers(0, 3), inner, max_size=4)


values = st.recursive(_scalars | _odd, _nested, max_leaves=6)
# Few keys, so that they come again with other values.
_keys = st.sampled_from(["a", "b", "\u00e9", "k" * 200]) | texts
_mappings = st.dictionaries(_keys | st.none() | st.integers(0, 3), values, max_size=4)

# What the SDK keeps of attributes that anybody sets, and what can be encoded of that.
_clean_values = st.recursive(_scalars, _nested, max_leaves=6)
clean_mappings = st.dictionaries(_keys, _clean_values, max_size=6)
sound_texts = st.text(max_size=20) | st.text(max_size=300)
_sound_scalars = st.one_of(
    *(_alike, sound_texts, st.integers(-300, 300), st.integers(-(2**63), 2**63 - 1)),
    *(st.booleans(), st.floats(), st.binary(max_size=200)),
)
sound_values = st.recursive(
    _sound_scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(sound_texts, inner, max_size=3),
    max_leaves=5,
)
sound_mappings = st.dictionaries(
    st.sampled_from(["a", "b", "c", "\u00e9", "k" * 200]) | st.text(min_size=1, max_size=5),
    sound_values,
    max_size=5,
)


def _bounded(mappings: st.SearchStrategy[Any]) -> st.SearchStrategy[BoundedAttributes]:
    most = st.sampled_from([None, 128, 3, 1, 0])
    length = st.sampled_from([None, 3])
    return st.builds(BoundedAttributes, most, mappings, max_value_len=length)


bounded = _bounded(clean_mappings)
sound_bounded = _bounded(sound_mappings)
attributes = (
    st.none() | bounded | clean_mappings | _mappings | _mappings.map(MappingProxyType) | st.just([])
)


def mostly_sound(
    sound: dict[str, st.SearchStrategy[Any]], odd: dict[str, st.SearchStrategy[Any]]
) -> st.SearchStrategy[dict[str, Any]]:
    """Fields of which at most two are unusual: with more, nobody could find the cause."""
    chosen = st.sets(st.sampled_from(sorted(odd)), max_size=2)
    return chosen.flatmap(
        lambda names: st.fixed_dictionaries({**sound, **{name: odd[name] for name in names}})
    )


trace_states = st.none() | st.lists(
    st.tuples(st.sampled_from(["a", "b@v", "c"]), st.sampled_from(["1", "x y"])), max_size=3
).map(TraceState)
contexts = st.builds(
    SpanContext,
    st.integers(0, 2**128 - 1),
    st.integers(0, 2**64 - 1),
    st.booleans(),
    st.integers(0, 3).map(TraceFlags),
    trace_states,
)
IMPOSSIBLE = (
    SpanContext(2**128, 1, is_remote=False),
    SpanContext(-1, 1, is_remote=False),
    SpanContext(1, 2**64, is_remote=False),
    SpanContext(1, -1, is_remote=False),
    SpanContext(True, True, is_remote=1),  # type: ignore[arg-type]
    SpanContext(1, 1, is_remote="yes"),  # type: ignore[arg-type]
    SpanContext(1, 1, is_remote=None),  # type: ignore[arg-type]
)
impossible_contexts = st.sampled_from(IMPOSSIBLE)
times = st.integers(0, 2**64 - 1) | st.sampled_from([None, -1, 2**64, 1.0, 1.5, True, "1"])

sound_times = st.integers(0, 2**64 - 1)

_REPEATED = {"service.name": "shop", "host.cpu": 4, "tags": ["a", "b"]}
# Twice the same, and some that are equal without being the same.
resources = st.sampled_from(
    [
        *(Resource({}), Resource({}, "url"), Resource(_REPEATED), Resource(dict(_REPEATED))),
        *(Resource({"a": 1}), Resource({"a": True}), Resource({"a": 1.0})),
    ]
)
scopes = st.sampled_from(
    [
        *(None, InstrumentationScope(""), InstrumentationScope("shop", "1", "url", {"a": 1})),
        *(InstrumentationScope("shop", "1", "url", {"a": value}) for value in (1, True, "\u00e9")),
        *(InstrumentationScope("shop"), InstrumentationScope("shop"), InstrumentationScope("x")),
    ]
)


def ended_span(cls: type[ReadableSpan] = ReadableSpan, **facts: Any) -> ReadableSpan:
    """An ended span with everything that our encoder needs, and with `facts`."""
    context = facts.pop("context", SpanContext(1, 1, is_remote=False))
    return cls("x", context, start_time=1, end_time=2, **facts)


def assert_same(encoder: Encoder, batch: Sequence[Any]) -> None:
    """Our bytes are the official message, or fail and warn as the official encoder does."""
    official = encoder.signal.official
    message = type(official([]))
    expected = _outcome(message, lambda: official(batch).SerializePartialToString())
    assert _outcome(message, lambda: encoder.request(batch)) == expected
    if isinstance(expected[0], bytes):
        joined = b"".join([encoder.request([each]) for each in batch])
        singly = b"".join([official([each]).SerializePartialToString() for each in batch])
        assert _canonical(message, joined) == _canonical(message, singly)


@contextmanager
def quietly() -> Iterator[None]:
    """Without the SDK's warnings about odd values."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _outcome(
    message: type[Message], encode: Callable[[], bytes]
) -> tuple[bytes | type[Exception], int]:
    """The message or the exception, and the number of warnings."""
    with _complaints() as complaints:
        try:
            return _canonical(message, encode()), len(complaints)
        except Exception as error:  # noqa: BLE001 - whatever it is, both must raise it
            return type(error), len(complaints)


def _canonical(message: type[Message], content: bytes) -> bytes:
    """The parsed message, written in one way: messages with NaN are not equal to themselves."""
    try:
        return message.FromString(content).SerializeToString(deterministic=True)
    except DecodeError:  # Nested too deeply to be read.
        return content


@contextmanager
def _complaints() -> Iterator[list[logging.LogRecord]]:
    """Log records about attributes that cannot be encoded."""
    complaints: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = complaints.append  # type: ignore[method-assign]
    logger = logging.getLogger("opentelemetry.exporter.otlp.proto.common")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield complaints
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
