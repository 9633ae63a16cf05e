"""The envelope: everything written is read back, and invalid text is ignored."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext, TraceFlags

from otel_queue_plugins.core.carrier import envelope
from otel_queue_plugins.core.carrier.envelope import Envelope
from otel_queue_plugins.core.messages import NO_WORKFLOW, Joined, Workflow, WorkflowStart
from otel_queue_plugins.core.options import RELATIONS
from otel_queue_plugins.core.task_names import mark_of

CREATION = SpanContext(2**127 + 1, 2**63 + 1, is_remote=True, trace_flags=TraceFlags(1))
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=64)
seconds = st.integers(0, 10**7).map(lambda millis: millis / 1000)
traces = st.integers(1, 2**128 - 1) | st.just(CREATION.trace_id)
envelopes = st.builds(
    lambda now, eta, first, start, **facts: Envelope(
        enqueued_at=now,
        eta=None if eta is None else now + eta,
        first_enqueued_at=None if first is None else now - first,
        start=None if start is None else WorkflowStart(now - start[0], start[1]),
        **facts,
    ),
    now=st.integers(1, 4 * 10**15).map(lambda micros: micros / 1e6),
    eta=st.none() | seconds,
    first=st.none() | seconds,
    start=st.none() | st.tuples(seconds, st.just("") | st.text().map(mark_of)),
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
def test_encoded_envelope_decodes_to_the_same_facts(original: Envelope) -> None:
    """All facts are kept, to the microsecond or millisecond, in at most 512 ASCII characters."""
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
    assert (found.start and found.start.task) == (original.start and original.start.task)
    if found.start and original.start:
        assert found.start.at == pytest.approx(original.start.at, abs=2e-3)


@given(text=st.text(st.characters(), max_size=600), has_creation=st.booleans())
def test_decode_of_any_text_raises_nothing(text: str, has_creation: bool) -> None:
    """Decoding never raises."""
    found = envelope.decode(text, CREATION if has_creation else None)
    assert found is None or math.isfinite(found.enqueued_at)


@pytest.mark.parametrize(
    "value", [None, 5, b"62f1", "", "-1", "0x1f", "f" * 16, "1" * 513, "\u0661"]
)
def test_decode_of_invalid_value_returns_none(value: object) -> None:
    """Numbers, bytes, signs, prefixes, other digits and too long text are no envelopes."""
    assert envelope.decode(value, CREATION) is None


def test_encode_leaves_out_what_the_receiver_can_derive() -> None:
    """The id of a chain, the trigger of its steps and the trace of an attempt are left out."""
    previous = SpanContext(CREATION.trace_id, 2**64 - 2, is_remote=True)
    step = Workflow(kind="chain", id="", step=11)
    retried = Envelope(
        enqueued_at=1.0,
        first_enqueued_at=0.5,
        previous=previous,
        trigger="workflow",
        workflow=step,
        joins=Joined(id="", size=3, trace_id=CREATION.trace_id),
    )
    assert envelope.encode(retried, CREATION) == "f4240;a__________41f4;wcb;j:3"


def test_decode_of_earlier_format_reads_all_parts() -> None:
    """Earlier versions wrote the ids of chains and groups, all triggers, and span ids in hex."""
    found = envelope.decode("f4240;p000000000000000a;tw;wchain:7:1;jg:3", CREATION)
    assert found is not None
    assert found.previous is not None
    assert found.previous.span_id == 10
    assert found.trigger == "workflow"
    assert found.workflow == Workflow(kind="chain", id="7", step=1)
    assert found.joins == Joined(id="g", size=3, trace_id=CREATION.trace_id)


def test_decode_ignores_unknown_parts() -> None:
    """A later version may write more parts."""
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
def test_decode_ignores_an_invalid_part(text: str) -> None:
    """An invalid part counts as absent; the others are read."""
    assert envelope.decode(text, CREATION) == Envelope(enqueued_at=1e-6)


@pytest.mark.parametrize("part", ["p" + "1" * 16, "a" + "B" * 11, "jg:3"])
def test_decode_without_creation_context_ignores_ids_without_trace(part: str) -> None:
    """Ids that leave out the trace mean the one of the creation context."""
    assert envelope.decode(f"1;{part}", None) == Envelope(enqueued_at=1e-6)


@pytest.mark.parametrize("eta", [math.inf, -math.inf, math.nan, 1e300])
def test_encode_leaves_out_an_infinite_eta(eta: float) -> None:
    """An ETA that is no valid time is not written."""
    found = envelope.decode(envelope.encode(Envelope(enqueued_at=9.0, eta=eta), None), None)
    assert found is not None
    assert found.eta in (None, 9.0)


def test_encode_removes_separators_from_names() -> None:
    """Separators and non-ASCII characters are removed from names; names are cut after 64."""
    workflow = Workflow(kind="ch;ain", id="é:" + "i" * 99, step=None)
    found = envelope.decode(
        envelope.encode(Envelope(enqueued_at=1.0, workflow=workflow), None), None
    )
    assert found is not None
    assert found.workflow == Workflow(kind="chain", id="i" * 62, step=None)
