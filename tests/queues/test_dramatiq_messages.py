"""What Dramatiq's messages say, and how one gets all its attempts again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext, TraceFlags

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.formats import carriers, dramatiq_messages
from otel_queue_plugins.core.messages import Workflow

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
BORN_AT = 1_700_000_000
ENQUEUED_AT = BORN_AT + 10.5
CARRIER = {"traceparent": f"00-{TRACE}-{SPAN}-01", "otq": f"{int(ENQUEUED_AT * 1e6):x}"}
CAUSE = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def body(**options: Any) -> bytes:
    """A message as a broker has it."""
    return json.dumps(
        {
            "queue_name": "mail.DQ",
            "actor_name": "send",
            "args": [1],
            "kwargs": {"to": "me"},
            "options": options,
            "message_id": "an-id",
            "message_timestamp": BORN_AT * 1000,
        }
    ).encode()


def read(raw: bytes, **more: Any) -> Any:
    """The facts of a message that is dead."""
    return dramatiq_messages.message(raw, queue="mail", state="dead", **more)


def test_all_facts() -> None:
    """Times are in seconds; what the sender noted wins over Dramatiq's own times."""
    found = read(
        body(
            otel=CARRIER,
            retries=2,
            max_retries=5,
            eta=(BORN_AT + 20) * 1000,
            max_age=60_000,
            broker_priority=7,
            group_completion_uuid="g",
            requeue_timestamp=(BORN_AT + 9) * 1000,
        )
    )
    assert (found.id, found.task, found.queue) == ("an-id", "send", "mail")
    assert (found.attempt, found.max_attempts, found.priority) == (3, 6, 7)
    assert (found.enqueued_at, found.eta, found.expires_at) == (
        ENQUEUED_AT,
        BORN_AT + 20,
        BORN_AT + 60,
    )
    assert f"{found.creation.trace_id:032x}" == TRACE
    assert found.workflow == Workflow(kind="group", id="g")
    assert found.arguments == {"args": [1], "kwargs": {"to": "me"}}
    assert found.headers["retries"] == 2


@pytest.mark.parametrize(
    ("options", "enqueued_at"),
    [({}, BORN_AT), ({"requeue_timestamp": (BORN_AT + 9) * 1000}, BORN_AT + 9)],
)
def test_without_our_time_that_of_dramatiq_counts(
    options: dict[str, Any], enqueued_at: float
) -> None:
    """The last enqueue if it is noted, else the first."""
    assert read(body(**options)).enqueued_at == enqueued_at


def test_how_often_an_actor_is_tried_is_asked_where_the_message_does_not_say() -> None:
    """By the name of the actor."""
    assert read(body(), max_attempts={"send": 21}.get).max_attempts == 21
    assert read(body(max_retries=0), max_attempts={"send": 21}.get).max_attempts == 1


def test_a_renewed_message_has_nothing_behind_it() -> None:
    """Its trace and options stay; its age starts anew, and its next delivery has a link."""
    old = body(
        otel=CARRIER,
        retries=2,
        traceback="...",
        eta=1,
        requeue_timestamp=1,
        redis_message_id="old",
        tenant=7,
    )
    now = ENQUEUED_AT + 60
    raw = dramatiq_messages.renewed(old, queue="mail", now=now, cause=CAUSE, redis_message_id="new")
    facts = json.loads(raw)
    assert facts["queue_name"] == "mail"
    assert facts["message_timestamp"] == round(now * 1000)
    assert facts["args"] == [1]
    options = facts["options"]
    assert set(options) == {"otel", "redis_message_id", "tenant"}
    assert options["redis_message_id"] == "new"
    carried = carriers.read(options["otel"])
    assert carried.creation == read(old).creation
    assert carried.envelope is not None
    assert carried.envelope.enqueued_at == now
    assert carried.envelope.first_enqueued_at == ENQUEUED_AT
    assert carried.envelope.previous == CAUSE
    assert read(raw).attempt == 1


def test_a_message_without_a_carrier_gets_one() -> None:
    """So that the next delivery is linked to what put it back, whoever sent it."""
    raw = dramatiq_messages.renewed(body(), queue="mail", now=BORN_AT + 1.0, cause=CAUSE)
    carried = carriers.read(json.loads(raw)["options"]["otel"])
    assert carried.creation is None
    assert carried.envelope is not None
    assert carried.envelope.previous == CAUSE


@pytest.mark.parametrize("raw", [b"\x80\x05.", b"[]", b"{}", b'{"options": 5}'])
def test_what_is_not_json_is_not_opened(raw: bytes) -> None:
    """Shown by its size, never put back."""
    found = read(raw)
    assert (found.id, found.task, found.size_bytes) == ("", "", len(raw))
    with pytest.raises(RefusedError, match="it is not JSON"):
        dramatiq_messages.renewed(raw, queue="q", now=0, cause=None)


@pytest.mark.parametrize("name", ["mail", "mail.DQ", "mail.XQ"])
def test_the_name_that_users_know(name: str) -> None:
    """Without what Dramatiq appends."""
    assert dramatiq_messages.canonical(name) == "mail"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(
    options=st.dictionaries(
        st.sampled_from(["otel", "retries", "eta", "max_age", "max_retries", "broker_priority"]),
        JSON,
    )
)
def test_whatever_a_message_holds_it_is_read(options: Any) -> None:
    """Anybody may have written it."""
    found = read(body(**options))
    assert found.attempt >= 1
    assert found.age(0.0) is None or found.age(0.0) >= 0
