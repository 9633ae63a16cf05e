"""`ot=th:` in the trace state: what is written says exactly what was decided."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from otel_queue_plugins.sdk.sampling import thresholds
from otel_queue_plugins.sdk.sampling.thresholds import MAX

THRESHOLDS = st.integers(0, MAX - 1)
KEYS = st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True).filter(lambda key: key != "ot")
VALUES = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (1.0, "0"),
        (0.5, "8"),
        (0.25, "c"),
        (0.1, "e666"),
        (0.01, "fd70a"),
        (0.001, "ffbe77"),
        (2**-56, "ffffffffffffff"),
        (1e-300, "ffffffffffffff"),
    ],
)
def test_probability_is_written_as_the_specification_has_it(probability: float, text: str) -> None:
    """In hexadecimal, without the zeros at its end, and short."""
    threshold = thresholds.of_probability(probability)
    assert thresholds.encode(threshold) == text
    assert thresholds.new_state(threshold).to_header() == f"ot=th:{text}"


def test_probability_of_zero_is_a_threshold_that_nothing_reaches() -> None:
    """It is never written."""
    assert thresholds.of_probability(0.0) == MAX
    assert thresholds.randomness_of(2**128 - 1) < MAX


@given(THRESHOLDS)
def test_threshold_comes_back_as_it_was(threshold: int) -> None:
    """Encoded and decoded."""
    assert thresholds.decode(thresholds.encode(threshold)) == threshold
    assert thresholds.threshold_of(thresholds.new_state(threshold)) == threshold


@given(st.floats(1e-12, 1))
def test_weight_is_that_of_the_probability(probability: float) -> None:
    """Within a thousandth: rounding is for the length alone."""
    found = thresholds.to_probability(thresholds.of_probability(probability))
    assert found == pytest.approx(probability, rel=1e-3)


@pytest.mark.parametrize("text", ["", "g", "FD70A", "-1", "0" * 15, "٣", " 1", "1 "])
def test_what_is_no_threshold_is_none(text: str) -> None:
    """It is not guessed at."""
    assert thresholds.decode(text) is None


@given(
    others=st.dictionaries(KEYS, VALUES, max_size=31),
    sub_keys=st.dictionaries(KEYS.filter(lambda key: key not in {"th", "rv"}), VALUES, max_size=5),
    before=st.none() | THRESHOLDS,
    threshold=st.none() | THRESHOLDS,
    randomness=st.none() | THRESHOLDS,
)
def test_entries_of_others_and_other_sub_keys_stay(
    others: dict[str, str],
    sub_keys: dict[str, str],
    before: int | None,
    threshold: int | None,
    randomness: int | None,
) -> None:
    """In their order; ours comes first, as what was changed last."""
    old = [f"{key}:{value}" for key, value in sub_keys.items()]
    old += [] if before is None else [f"th:{thresholds.encode(before)}"]
    entries = [("ot", ";".join(old))] if old else []
    state = TraceState([*others.items(), *entries])
    found = thresholds.with_threshold(state, threshold, randomness)
    merged = {} if found is None else dict(found.items())
    parts = (merged.pop("ot", "") or "").split(";")
    assert merged == others
    assert list(merged) == list(others)
    kept = dict(part.split(":") for part in parts if part)
    assert kept.pop("th", None) == (None if threshold is None else thresholds.encode(threshold))
    assert kept.pop("rv", None) == (None if randomness is None else f"{randomness:014x}")
    assert kept == sub_keys
    if found and "ot" in found:
        assert next(iter(found)) == "ot"


def test_full_trace_state_gives_up_its_last_entry() -> None:
    """32 entries are the most that it may have (W3C Trace Context, 3.3.1)."""
    state = TraceState([(f"v{number}", "1") for number in range(32)])
    found = thresholds.with_threshold(state, 0)
    assert found is not None
    assert len(found) == 32
    assert found["ot"] == "th:0"
    assert "v31" not in found


def test_entry_that_would_be_too_long_gives_up_its_end() -> None:
    """256 characters are the most."""
    state = TraceState([("ot", f"a:{'x' * 240};b:222")])
    found = thresholds.with_threshold(state, thresholds.of_probability(0.001))
    assert found is not None
    assert found["ot"] == f"th:ffbe77;a:{'x' * 240}"


def test_random_number_is_the_end_of_the_id_or_explicit() -> None:
    """`rv` wins if it is one."""
    trace_id = 0xFFFFFFFFFFFFFFFFFF_01234567_89ABCD
    assert thresholds.randomness_of(trace_id) == 0x0123456789ABCD
    explicit = TraceState([("ot", "rv:abcdef01234567")])
    assert thresholds.randomness_of(trace_id, explicit) == 0xABCDEF01234567
    for odd in ("rv:abc", "rv:ABCDEF01234567", "rv", "x:1"):
        state = TraceState([("ot", odd)])
        assert thresholds.randomness_of(trace_id, state) == 0x0123456789ABCD


def linked(state: str, trace_id: int = 0xFF_FFFFFFFF_FFFFFF) -> SpanContext:
    """A span of a sampled trace."""
    trace_state = TraceState.from_header([state]) if state else None
    return SpanContext(trace_id, 1, True, TraceFlags(1), trace_state)


def test_linked_trace_hands_on_its_threshold_and_its_random_number() -> None:
    """So the new one counts as much, and the number is not below the threshold."""
    state = thresholds.state_like(linked("other=1,ot=th:8"))
    assert state is not None
    assert state.to_header() == "ot=th:8;rv:ffffffffffffff"
    explicit = thresholds.state_like(linked("ot=th:8;rv:90000000000000", trace_id=1))
    assert explicit is not None
    assert explicit.to_header() == "ot=th:8;rv:90000000000000"


@pytest.mark.parametrize("state", ["", "other=1", "ot=x:1", "ot=th:zz"])
def test_linked_trace_of_unknown_probability_hands_on_nothing(state: str) -> None:
    """Nobody knows what it stands for."""
    assert thresholds.state_like(linked(state)) is None


def test_linked_trace_that_contradicts_itself_hands_on_nothing() -> None:
    """Sampled, though its number is below its threshold."""
    assert thresholds.state_like(linked("ot=th:8", trace_id=1)) is None
