"""Our one key: what is written is read, whoever reads it, and nothing else is."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext, TraceFlags

from otel_queue_plugins.core.carrier import envelope
from otel_queue_plugins.core.carrier.envelope import Envelope
from otel_queue_plugins.core.messages import NO_WORKFLOW, Joined, Workflow
from otel_queue_plugins.core.options import RELATIONS

CREATION = SpanContext(2**127 + 1, 2**63 + 1, is_remote=True, trace_flags=TraceFlags(1))
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=64)
seconds = st.integers(0, 10**7).map(lambda millis: millis / 1000)
traces = st.integers(1, 2**128 - 1) | st.just(CREATION.trace_id)
envelopes = st.builds(
    lambda now, eta, first, **facts: Envelope(
        enqueued_at=now,
        eta=None if eta is None else now + eta,
        first_enqueued_at=None if first is None else now - first,
        **facts,
    ),
    now=st.integers(1, 4 * 10**15).map(lambda micros: micros / 1e6),
    eta=st.none() | seconds,
    first=st.none() | seconds,
    relation=st.none() | st.sampled_from(RELATIONS),
    previous=st.none()
    | st.builds(
        SpanContext,
        traces,
        st.integers(1, 2**64 - 1),
        is_remote=st.just(True),
        trace_flags=st.just(TraceFlags(1)),
    ),
    trigger=st.none() | st.sampled_from(["schedule", "callback", "workflow"]),
    workflow=st.none()
    | st.just(NO_WORKFLOW)
    | st.builds(Workflow, kind=names, id=names, step=st.none() | st.integers(0, 2**40))
    | st.builds(Workflow, kind=st.just("chain"), id=st.just(""), step=st.integers(0, 2**40)),
    joins=st.none()
    | st.builds(Joined, id=names, size=st.integers(0, 2**40), trace_id=traces)
    | st.builds(Joined, id=st.just(""), size=st.integers(1, 2**40), trace_id=traces),
).filter(
    lambda made: (
        made.trigger or all(part is None or part.id for part in (made.workflow, made.joins))
    )
)


@given(original=envelopes)
def test_what_is_written_is_read(original: Envelope) -> None:
    """All facts survive, to the microsecond or millisecond, in at most 512 ASCII characters."""
    text = envelope.encode(original, CREATION)
    assert text.isascii()
    assert len(text) <= envelope.MAX_LENGTH
    found = envelope.decode(text, CREATION)
    assert found is not None
    assert found.enqueued_at == pytest.approx(original.enqueued_at, abs=2e-6)
    for name in ("eta", "first_enqueued_at"):
        expected = getattr(original, name)
        assert getattr(found, name) == (
            None if expected is None else pytest.approx(expected, abs=2e-3)
        )
    for name in ("relation", "previous", "trigger", "workflow", "joins"):
        assert getattr(found, name) == getattr(original, name)


@given(text=st.text(st.characters(), max_size=600), known=st.booleans())
def test_any_text_is_read_or_refused(text: str, known: bool) -> None:
    """Reading never raises."""
    found = envelope.decode(text, CREATION if known else None)
    assert found is None or math.isfinite(found.enqueued_at)


@pytest.mark.parametrize(
    "value", [None, 5, b"62f1", "", "-1", "0x1f", "f" * 16, "1" * 513, "\u0661"]
)
def test_what_is_no_envelope_is_none(value: object) -> None:
    """Numbers, bytes, signs, prefixes, other digits, too much."""
    assert envelope.decode(value, CREATION) is None


def test_what_the_receiver_knows_costs_few_bytes() -> None:
    """A chain is not named, nor why its steps are sent; the attempt before is short."""
    here = SpanContext(CREATION.trace_id, 2**64 - 2, is_remote=True)
    step = Workflow(kind="chain", id="", step=11)
    retried = Envelope(
        enqueued_at=1.0,
        first_enqueued_at=0.5,
        previous=here,
        trigger="workflow",
        workflow=step,
        joins=Joined(id="", size=3, trace_id=CREATION.trace_id),
    )
    assert envelope.encode(retried, CREATION) == "f4240;a__________41f4;wcb;j:3"


def test_what_earlier_versions_wrote_is_read() -> None:
    """They had the id of every chain and group, a trigger for all, and span ids in hex."""
    found = envelope.decode("f4240;p000000000000000a;tw;wchain:7:1;jg:3", CREATION)
    assert found is not None
    assert found.previous is not None
    assert found.previous.span_id == 10
    assert found.trigger == "workflow"
    assert found.workflow == Workflow(kind="chain", id="7", step=1)
    assert found.joins == Joined(id="g", size=3, trace_id=CREATION.trace_id)


def test_a_later_version_may_say_more() -> None:
    """Unknown parts are passed over."""
    found = envelope.decode("62f1a2b3c4d5e;zfuture;rlink;", CREATION)
    assert found is not None
    assert found.relation == "link"


@pytest.mark.parametrize(
    "text",
    [
        "1;rsideways",
        "1;p123",
        "1;p" + "0" * 16,
        "1;a",
        "1;a" + "A" * 11,
        "1;a" + "A" * 10 + "!",
        "1;p" + "B" * 11,
        "1;p" + "g" * 16,
        "1;p" + "1" * 47,
        "1;p" + "g" * 32 + "1" * 16,
        "1;p" + "0" * 32 + "1" * 16,
        "1;tq",
        "1;w",
        "1;w:",
        "1;wchain",
        "1;w5",
        "1;wc",
        "1;j",
        "1;j:",
        "1;j:0",
        "1;jg:3:xyz",
        "1;e-5",
        "1;e" + "f" * 16,
        "1;f",
    ],
)
def test_a_broken_part_is_not_there(text: str) -> None:
    """Each part stands for itself."""
    assert envelope.decode(text, CREATION) == Envelope(enqueued_at=1e-6)


@pytest.mark.parametrize("part", ["p" + "1" * 16, "a" + "B" * 11, "jg:3"])
def test_what_needs_a_creation_context_is_nothing_without(part: str) -> None:
    """Ids that leave out the trace mean the one of the creation context."""
    assert envelope.decode(f"1;{part}", None) == Envelope(enqueued_at=1e-6)


@pytest.mark.parametrize("eta", [math.inf, -math.inf, math.nan, 1e300])
def test_an_earliest_start_beyond_time_is_left_out(eta: float) -> None:
    """What no clock will show is not written."""
    found = envelope.decode(envelope.encode(Envelope(enqueued_at=9.0, eta=eta), None), None)
    assert found is not None
    assert found.eta in (None, 9.0)


def test_names_cannot_end_a_part() -> None:
    """Separators and what is not ASCII are left out of names, and names are cut at 64."""
    workflow = Workflow(kind="ch;ain", id="é:" + "i" * 99, step=None)
    found = envelope.decode(
        envelope.encode(Envelope(enqueued_at=1.0, workflow=workflow), None), None
    )
    assert found is not None
    assert found.workflow == Workflow(kind="chain", id="i" * 62, step=None)
