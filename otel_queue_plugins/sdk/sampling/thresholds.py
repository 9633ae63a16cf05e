"""Probabilities as `ot=th:` in the trace state, and the random number that they are compared with.

https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/
A trace is sampled if its random number (56 bits: of its id, or `rv`) is not below the threshold
`th`. So a backend knows from `th` alone how many traces a sampled one stands for.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from opentelemetry.trace import SpanContext, TraceState

MAX: Final = 1 << 56
"""The threshold that no random number reaches; it cannot be written."""
_RANDOM_BITS: Final = MAX - 1
_DIGITS: Final = 14
# Of the threshold, after its leading `f`s: enough for four digits of the probability.
_PRECISION: Final = 4
_KEY: Final = "ot"
_LONGEST: Final = 256
_MOST_ENTRIES: Final = 32
_THRESHOLD: Final = re.compile(r"[0-9a-f]{1,14}", re.ASCII)
_RANDOMNESS: Final = re.compile(r"[0-9a-f]{14}", re.ASCII)


def of_probability(probability: float) -> int:
    """The threshold for a probability from 0 to 1, rounded so that it is short when written.

    What is written is what decides: the weight of a sampled trace is exact.
    """
    if probability <= 0:
        return MAX
    exact = min(MAX - round(probability * MAX), MAX - 1)
    text = f"{exact:014x}"
    leading = _DIGITS - len(text.lstrip("f"))
    shift = 4 * max(0, _DIGITS - leading - _PRECISION)
    rounded = (exact + (1 << shift >> 1)) >> shift << shift
    return rounded if rounded < MAX else exact


def to_probability(threshold: int) -> float:
    """The share of random numbers that are not below `threshold`."""
    return (MAX - threshold) / MAX


def encode(threshold: int) -> str:
    """The value of `th`: hexadecimal, without trailing zeros."""
    return f"{threshold:014x}".rstrip("0") or "0"


def decode(text: str) -> int | None:
    """The threshold of a value of `th`; None if it is none."""
    return int(text.ljust(_DIGITS, "0"), 16) if _THRESHOLD.fullmatch(text) else None


def threshold_of(state: TraceState | None) -> int | None:
    """The threshold in a trace state; None if there is none that can be read."""
    return decode(_sub_keys(state).get("th", ""))


def randomness_of(trace_id: int, state: TraceState | None = None) -> int:
    """The random number of a trace: `rv` of its state, else the end of its id."""
    explicit = _sub_keys(state).get("rv", "") if state else ""
    return int(explicit, 16) if _RANDOMNESS.fullmatch(explicit) else trace_id & _RANDOM_BITS


@lru_cache(maxsize=4096)
def new_state(threshold: int) -> TraceState:
    """The trace state of a new trace that was sampled with `threshold`."""
    return TraceState([(_KEY, f"th:{encode(threshold)}")])


def state_like(linked: SpanContext) -> TraceState | None:
    """The trace state for a new trace that is sampled because the linked one was.

    It has the threshold and the random number of the linked trace, so that it counts as much. None
    if the linked trace does not tell its probability.
    """
    threshold = threshold_of(linked.trace_state)
    randomness = randomness_of(linked.trace_id, linked.trace_state)
    if threshold is None or randomness < threshold:
        return None
    return with_threshold(None, threshold, randomness)


def with_threshold(
    state: TraceState | None, threshold: int | None, randomness: int | None = None
) -> TraceState | None:
    """`state` with another threshold, or without one (None), and with `rv` if it is given.

    The entries of others stay, and what else is in ours. None for a state with no entries.
    """
    sub_keys = _sub_keys(state)
    sub_keys.pop("th", None)
    if threshold is not None:
        sub_keys = {"th": encode(threshold), **sub_keys}
    if randomness is not None:
        sub_keys["rv"] = f"{randomness:014x}"
    entries = [(key, value) for key, value in (state or {}).items() if key != _KEY]
    if sub_keys:
        entries = [(_KEY, _joined(sub_keys)), *entries[: _MOST_ENTRIES - 1]]
    return TraceState(entries) if entries else None


def _joined(sub_keys: dict[str, str]) -> str:
    parts = [f"{key}:{value}" for key, value in sub_keys.items()]
    while len(";".join(parts)) > _LONGEST:
        parts.pop()
    return ";".join(parts)


def _sub_keys(state: TraceState | None) -> dict[str, str]:
    """The parts of the entry `ot`, in their order."""
    if not state:
        return {}
    pairs = (part.partition(":") for part in (state.get(_KEY) or "").split(";"))
    return {key: value for key, colon, value in pairs if key and colon}
