"""Rows, selections, answers and URLs: what leaves the room."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext, TraceFlags

from otel_queue_plugins.brokers.answers import Unknown, all_unknown, queue_state
from otel_queue_plugins.brokers.facts import QueueState, StoredMessage
from otel_queue_plugins.brokers.names import is_task_queue
from otel_queue_plugins.brokers.rows import message_row, queue_row, rfc3339
from otel_queue_plugins.brokers.selection import ALL, Selection
from otel_queue_plugins.brokers.urls import without_password
from otel_queue_plugins.core.messages import Workflow

NOW = 1_700_000_000.0


def test_a_number_is_null_if_and_only_if_it_has_its_reason() -> None:
    """Both ways, for each field."""
    why = Unknown("because")
    state = queue_state(
        "q",
        "redis",
        ready=3,
        delayed=why,
        unacked=0,
        dead=why,
        oldest_age_s=2.5,
        oldest_unacked_age_s=why,
        abandoned=-1,
        consumers=why,
    )
    assert queue_row(state) == {
        "name": "q",
        "system": "redis",
        "ready": 3,
        "delayed": None,
        "unacked": 0,
        "dead": None,
        "oldest_age_s": 2.5,
        "consumers": None,
        "unknown": {"delayed": "because", "dead": "because", "consumers": "because"},
    }
    assert state.unknown["oldest_unacked_age_s"] == "because"
    assert state.abandoned == 0


def test_nothing_may_be_known() -> None:
    """Every number has the reason."""
    state = all_unknown("q", "aws_sqs", "no")
    numbers = set(QueueState.__slots__) - {"name", "system", "unknown"}
    assert state.unknown == dict.fromkeys(numbers, "no")
    assert all(getattr(state, name) is None for name in numbers)


def test_the_row_of_a_message() -> None:
    """All keys of the contract; arguments are not among them."""
    message = StoredMessage(
        id="i",
        task="t",
        queue="q",
        state="ready",
        enqueued_at=NOW,
        size_bytes=7,
        creation=SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1)),
        baggage={"a": "b"},
        workflow=Workflow(kind="chain", id="", step=2),
        arguments={"args": "secret"},
    )
    assert message_row(message, NOW + 5) == {
        "id": "i",
        "task": "t",
        "queue": "q",
        "state": "ready",
        "attempt": 1,
        "max_attempts": None,
        "enqueued_at": "2023-11-14T22:13:20.000+00:00",
        "eta": None,
        "expires_at": None,
        "age_s": 5.0,
        "priority": None,
        "size_bytes": 7,
        "trace_id": f"{1:032x}",
        "span_id": f"{2:016x}",
        "sampled": True,
        "trace_url": None,
        "baggage": {"a": "b"},
        "workflow": {"kind": "chain", "id": None, "step": 2},
    }
    bare = message_row(StoredMessage(id="i", task="t", queue="q", state="dead"), NOW)
    assert bare["trace_id"] is bare["sampled"] is bare["workflow"] is bare["age_s"] is None


@pytest.mark.parametrize("seconds", [None, 1e20, float("nan"), float("inf")])
def test_what_is_no_time_is_null(seconds: Any) -> None:
    """Not an error of who shows it."""
    assert rfc3339(seconds) is None


@pytest.mark.parametrize(
    ("selection", "matches"),
    [
        (ALL, True),
        (Selection(task="shop.*"), True),
        (Selection(task="SHOP.*"), False),
        (Selection(id="ab"), True),
        (Selection(id="b"), False),
        (Selection(older_than=10), True),
        (Selection(older_than=10.1), False),
        (Selection(task="shop.*", id="b"), False),
    ],
)
def test_selections(selection: Selection, *, matches: bool) -> None:
    """All conditions have to hold."""
    message = StoredMessage(id="abc", task="shop.x", queue="q", state="ready", enqueued_at=NOW)
    assert selection.matches(message, NOW + 10) is matches
    assert selection.is_all is (selection == ALL)


def test_a_message_of_unknown_age_is_never_old() -> None:
    """Else it would be purged by a guess."""
    message = StoredMessage(id="abc", task="t", queue="q", state="ready")
    assert not Selection(older_than=0).matches(message, NOW)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:sesame@host:1/0", "redis://host:1/0"),
        ("amqp://me:sesame@host//", "amqp://me@host//"),
        ("amqp://me:ses/ame@host/v", "amqp://host/v"),
        ("amqp://me:ses@ame@host/v", "amqp://me@host/v"),
        ("sqs://KEY:sesame@", "sqs://KEY@"),
        ("redis://h/0?password=sesame", "redis://h/0"),
        ("amqp://a:sesame@h1;amqp://b:sesame@h2", "amqp://a@h1"),
        ("sesame@host", "host"),
        ("memory://", "memory://"),
    ],
)
def test_urls_are_shown_without_passwords(url: str, shown: str) -> None:
    """Nor what else may be one."""
    assert without_password(url) == shown


@given(st.text(alphabet="abc/:#?@%;", max_size=12))
def test_no_password_is_shown_whatever_is_in_it(rest: str) -> None:
    """Passwords that nobody has quoted, too; what follows a semicolon is another URL."""
    password = f"SESAME{rest.replace(';', '')}"
    assert "SESAME" not in without_password(f"amqp://me:{password}@host/v")


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("celery", True),
        ("mail.fast", True),
        ("", False),
        ("w1@host.celery.pidbox", False),
        ("celeryev.0b5c", False),
        ("celery_delayed_27", False),
        ("shop_celery_delayed_0", False),
        ("0af76519-16cd-43dd-8448-eb211c80319c", False),
        ("amq.gen-x", False),
    ],
)
def test_queues_that_hold_no_tasks(name: str, *, is_one: bool) -> None:
    """Those of remote control, events, delays and replies are not listed."""
    assert is_task_queue(name) is is_one
