"""What Celery's messages say, in both protocols and whatever somebody has put into them."""

from __future__ import annotations

import json
import pickle
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.formats import celery_messages, celery_renewal
from otel_queue_plugins.core.messages import Workflow

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
ENQUEUED_AT = 1_700_000_000.5
OTQ = f"{int(ENQUEUED_AT * 1e6):x}"


def document(body: Any = None, content_type: str = "application/json", **headers: Any) -> bytes:
    """A message as kombu's Redis transport stores it."""
    raw = body if isinstance(body, bytes) else json.dumps(body or [[], {}, {}]).encode()
    return json.dumps(
        {
            "body": b64encode(raw).decode(),
            "content-type": content_type,
            "content-encoding": "utf-8",
            "headers": headers,
            "properties": {
                "correlation_id": "an-id",
                "priority": 3,
                "body_encoding": "base64",
                "delivery_info": {"exchange": "", "routing_key": "q", "redelivered": True},
            },
        }
    ).encode()


def read(raw: bytes) -> Any:
    """The facts of a message that is ready."""
    envelope = celery_messages.of_json(raw)
    assert envelope is not None
    return celery_messages.message(envelope, queue="q", state="ready", raw=raw)


def test_protocol_2() -> None:
    """Everything is in the headers."""
    raw = document(
        id="an-id",
        task="shop.charge",
        retries=2,
        eta="2023-11-14T22:13:30+00:00",
        expires="2023-11-14T23:13:30Z",
        argsrepr="(1,)",
        kwargsrepr="{}",
        traceparent=f"00-{TRACE}-{SPAN}-01",
        baggage="tenant=7",
        otq=OTQ,
        group="g",
        group_index=4,
    )
    found = read(raw)
    assert (found.id, found.task, found.attempt, found.priority) == ("an-id", "shop.charge", 3, 3)
    assert (found.enqueued_at, found.eta) == (ENQUEUED_AT, 1_700_000_010.0)
    assert found.expires_at == 1_700_003_610.0
    assert found.could_run_at == found.eta
    assert found.age(found.eta + 5) == 5.0
    assert found.age(0) == 0
    assert f"{found.creation.trace_id:032x}" == TRACE
    assert found.creation.trace_flags.sampled
    assert found.baggage == {"tenant": "7"}
    assert found.workflow == Workflow(kind="group", id="g", step=4)
    assert found.arguments == {"args": "(1,)", "kwargs": "{}"}
    assert "argsrepr" not in found.headers
    assert found.size_bytes == len(raw)
    assert found.redelivered


def test_a_member_of_a_chord_and_a_step_of_a_chain_are_told_by_a_json_body() -> None:
    """The headers do not say it."""
    chord = [[], {}, {"chord": {"task": "sum"}, "chain": None}]
    assert read(document(chord, task="t", group="g", group_index=0)).workflow.kind == "chord"
    chain = [[], {}, {"chain": [{"task": "last", "options": {"task_id": "last-id"}}]}]
    assert read(document(chain, task="t")).workflow == Workflow(kind="chain", id="last-id")


def test_what_the_sender_said_of_its_workflow_wins() -> None:
    """The envelope knows the step."""
    assert read(document(task="t", otq=f"{OTQ};wpipeline:p:2")).workflow == Workflow(
        kind="pipeline", id="p", step=2
    )


def test_protocol_1() -> None:
    """The facts are in the body, ours in the headers that travel in it."""
    body = {
        "task": "old",
        "id": "old-id",
        "args": [1],
        "kwargs": {},
        "retries": 1,
        "eta": "2023-11-14T22:13:30",
        "headers": {"traceparent": f"00-{TRACE}-{SPAN}-00", "otq": OTQ},
    }
    found = read(document(body))
    assert (found.id, found.task, found.attempt) == ("old-id", "old", 2)
    assert found.eta == 1_700_000_010.0
    assert found.enqueued_at == ENQUEUED_AT
    assert not found.creation.trace_flags.sampled
    assert found.arguments == {"args": [1], "kwargs": {}}


def test_a_pickle_stays_shut() -> None:
    """What is in it is not known, and not run."""

    class Trap:
        def __reduce__(self) -> Any:
            return pytest.fail, ("the body was opened",)

    body = pickle.dumps(Trap())
    found = read(document(body, "application/x-python-serialize", task="t", id="i"))
    assert (found.id, found.task, found.arguments) == ("i", "t", {})
    found = read(document(body, "application/x-python-serialize"))
    assert (found.id, found.task) == ("an-id", "")


@pytest.mark.parametrize(
    "headers",
    [
        {"b3": f"{TRACE}-{SPAN}-1"},
        {"b3": f"{TRACE}-{SPAN}-d-{SPAN}"},
        {"X-B3-TraceId": TRACE, "X-B3-SpanId": SPAN, "X-B3-Sampled": "1"},
        {"traceparent": f"00-{TRACE}-{SPAN}-01"},
        {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "a=b"},
        {"headers": {"traceparent": f"00-{TRACE}-{SPAN}-01"}},
    ],
    ids=str,
)
def test_the_trace_is_found_whatever_propagator_wrote_it(headers: dict[str, Any]) -> None:
    """Of an app with other propagators than the reader's own, too."""
    found = read(document(task="t", **headers)).creation
    assert (f"{found.trace_id:032x}", f"{found.span_id:016x}") == (TRACE, SPAN)
    assert found.trace_flags.sampled


@pytest.mark.parametrize(
    "headers", [{}, {"b3": "0"}, {"b3": f"{'0' * 32}-{SPAN}"}, {"X-B3-TraceId": 5}], ids=str
)
def test_a_message_without_a_trace_has_none(headers: dict[str, Any]) -> None:
    """No context is made up."""
    assert read(document(task="t", **headers)).creation is None


def test_no_time_is_made_up() -> None:
    """A sender without this package says no time; the time stamp of AMQP counts."""
    found = read(document(task="t"))
    assert found.enqueued_at is found.could_run_at is None
    assert found.age(1e9) is None
    stamped = celery_messages.Envelope(
        headers={"task": "t"},
        properties={"timestamp": __import__("datetime").datetime(2023, 11, 14, 22, 13, 20)},
        content_type=None,
        encoded=b"",
    )
    assert celery_messages.times(stamped).enqueued_at == 1_700_000_000.0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["id", "task", "retries", "eta", "expires", "group", "chain", "headers", "otq", "traceparent"]
)


@given(
    headers=st.dictionaries(NAMES, JSON) | JSON,
    properties=st.dictionaries(
        st.sampled_from(["priority", "timestamp", "delivery_info", "body_encoding"]), JSON
    ),
    body=JSON,
)
def test_whatever_a_message_holds_it_is_read(headers: Any, properties: Any, body: Any) -> None:
    """Anybody may have written it."""
    raw = json.dumps(
        {
            "headers": headers,
            "properties": properties,
            "body": json.dumps(body),
            "content-type": "application/json",
        }
    ).encode()
    found = read(raw)
    assert found.attempt >= 1
    assert found.age(0.0) is None or found.age(0.0) >= 0


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff", b"[" * 100_000, b"nul"])
def test_what_is_no_message_is_none(raw: bytes) -> None:
    """It is left out of what is shown; the list it lies in still counts it."""
    assert celery_messages.of_json(raw) is None


def test_a_dead_letter_gets_all_attempts_and_no_old_deaths() -> None:
    """Its trace and its workflow stay; when it was first enqueued does, too."""
    headers = {
        "task": "t",
        "id": "i",
        "retries": 3,
        "eta": "2023-11-14T22:13:30",
        "expires": "2023-11-14T22:13:30",
        "traceparent": f"00-{TRACE}-{SPAN}-01",
        "otq": f"{OTQ};rlink;wpipeline:p:2",
        "x-death": [{"queue": "q"}],
        "x-first-death-queue": "q",
        "tenant": "7",
    }
    renewed = celery_renewal.headers_of(headers, now=ENQUEUED_AT + 60, cause=None)
    assert renewed.pop("otq") == f"{int((ENQUEUED_AT + 60) * 1e6):x};rlink;fea60;wpipeline:p:2"
    assert renewed == {
        "task": "t",
        "id": "i",
        "retries": 0,
        "eta": None,
        "expires": None,
        "traceparent": f"00-{TRACE}-{SPAN}-01",
        "tenant": "7",
    }


def test_protocol_1_is_not_put_back() -> None:
    """Its attempts are in a body that is not opened."""
    with pytest.raises(RefusedError, match="protocol 1"):
        celery_renewal.headers_of({}, now=0, cause=None)
