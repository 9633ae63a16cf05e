"""Celery's queues on RabbitMQ, without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.trace import SpanContext, TraceFlags

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.facts import Source
from otel_queue_plugins.brokers.formats import carriers
from otel_queue_plugins.brokers.on_rabbitmq.celery import CeleryOnRabbitmq
from otel_queue_plugins.brokers.on_rabbitmq.dead_letters import Declaration
from otel_queue_plugins.brokers.on_rabbitmq.management import Details, ManagementError, Totals
from otel_queue_plugins.brokers.on_rabbitmq.reach import Api
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.brokers.rows import queue_row
from otel_queue_plugins.brokers.selection import Selection
from tests.queues.sessions import FakeSession

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = 1_700_000_000.0
TO_DEAD = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
CAUSE = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
DEATH = {"x-death": [{"queue": "q", "time": None}], "x-first-death-queue": "q"}


class FakeManagement:
    """An API that knows one kind of queue, and may be away."""

    def __init__(self, details: Details, **totals: Totals) -> None:
        self._details = details
        self._totals = totals
        self.away = False
        self.asked: list[str] = []

    def totals(self) -> dict[str, Totals]:
        self._ask("totals")
        return self._totals

    def details(self, queue: str) -> Details:
        self._ask(queue)
        return self._details

    def bound(self, exchange: str) -> list[tuple[str, str]]:
        self._ask(exchange)
        return [("dead", "dead")]

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.away:
            raise ManagementError("away")


def reader_of(
    session: Any, management: Any = None, declared: Mapping[str, Declaration] | None = None
) -> QueueReader:
    """A reader with a clock that stands still."""
    declarations = {"q": Declaration(arguments=TO_DEAD)} if declared is None else declared
    storage = CeleryOnRabbitmq(
        Source(framework="celery", system="rabbitmq", url="amqp://"),
        session,
        Api(management),
        configured=lambda: dict.fromkeys(declarations, "configured"),
        declarations=lambda: declarations,
        attempts=lambda _task: None,
    )
    return QueueReader(storage, lambda: NOW)


def row(reader: QueueReader) -> dict[str, Any]:
    """The numbers of one queue."""
    (state,) = reader.states(["q"])
    return queue_row(state)


def test_totals_ages_and_names_come_from_the_api() -> None:
    """What the broker itself says at once is asked of the broker."""
    session = FakeSession(q=[b"{}", b"{}"], dead=[b"{}"])
    api = FakeManagement(
        Details(kind="classic", policy={}, head_timestamp=NOW - 7),
        q=Totals(ready=5, unacked=3),
        dead=Totals(ready=4, unacked=0),
        celeryev=Totals(ready=0, unacked=0),
    )
    reader = reader_of(session, api)
    found = row(reader)
    assert (found["ready"], found["unacked"], found["dead"]) == (2, 3, 4)
    assert found["oldest_age_s"] == 7.0
    assert reader.names(search=True) == {"dead": "found", "q": "configured"}
    (state,) = reader.states(["q"])
    assert state.oldest_unacked_age_s is None
    assert "gives back" in state.unknown["abandoned"]


def test_an_api_that_is_away_is_asked_once_for_all_queues() -> None:
    """Each further question would take its time-out again."""
    api = FakeManagement(Details(kind="classic"))
    api.away = True
    session = FakeSession(q=[b"{}"], r=[], dead=[b"{}"])
    reader = reader_of(session, api)
    states = reader.states(["q", "r"])
    assert api.asked == ["totals"]
    assert [state.ready for state in states] == [1, 0]
    assert states[0].dead == 1
    assert states[0].unknown["unacked"] == "away"
    assert reader.names(search=True) == {"q": "configured"}


def test_a_dead_letter_goes_back_to_the_queue_that_it_died_in() -> None:
    """Its body is untouched; when it expires is dropped, and its trace and link go along."""
    session = FakeSession(q=[], dead=[b"any body"])
    session.headers = {**DEATH, "task": "t", "id": "i", "retries": 2}
    session.properties = {"priority": 3, "expiration": "5", "correlation_id": "i"}
    reader = reader_of(session)
    assert reader.plan_requeue("q").matched == 1
    assert reader.requeue("q", cause=CAUSE).done == 1
    (published,) = session.published
    assert session.queues == {"q": [b"any body"], "dead": []}
    assert published.properties == {"priority": 3, "correlation_id": "i"}
    assert published.headers["retries"] == 0
    assert not [name for name in published.headers if "death" in name]
    said = carriers.read(published.headers).envelope
    assert said is not None
    assert (said.enqueued_at, said.previous) == (NOW, CAUSE)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"task": "t", "x-death": [{"queue": "other"}]}, None),
        ({"task": "t"}, None),
        (DEATH, "protocol 1 keeps the number of attempts in its body, which stays shut"),
    ],
)
def test_what_died_elsewhere_or_cannot_be_renewed_stays(
    headers: dict[str, object], reason: str | None
) -> None:
    """Where it is; what is none of this queue's is not counted as matched."""
    session = FakeSession(q=[], dead=[b"a", b"b"])
    session.headers = headers
    change = reader_of(session).requeue("q")
    assert (change.matched, change.done) == ((2, 0) if reason else (0, 0))
    assert change.left == ({reason: 2} if reason else {})
    assert session.queues == {"q": [], "dead": [b"a", b"b"]}


def test_a_look_gives_everything_back() -> None:
    """In its order; dead letters of others are passed over."""
    api = FakeManagement(Details(kind="classic", policy={}))
    session = FakeSession(q=[b"a", b"b", b"c"], dead=[b"d"])
    session.headers = {"task": "t", "id": "i", "x-death": [{"queue": "other"}]}
    reader = reader_of(session, api)
    assert len(reader.peek("q", limit=2, disturb=True)) == 2
    assert reader.peek("q", "dead", disturb=True) == []
    assert session.queues == {"q": [b"a", b"b", b"c"], "dead": [b"d"]}
    assert reader.peek("missing", disturb=True) == []
    for state in ("delayed", "unacked"):
        with pytest.raises(RefusedError):
            reader.peek("q", state, disturb=True)  # type: ignore[arg-type]


def test_a_look_stops_where_a_message_was_delivered_too_often() -> None:
    """It is put back like the others."""
    api = FakeManagement(Details(kind="quorum", policy={}))
    session = FakeSession(q=[b"a", b"b"], dead=[])
    session.headers = {"task": "t", "x-delivery-count": 10}
    with pytest.raises(RefusedError, match="was delivered 11 times, half of what its limit allows"):
        reader_of(session, api).peek("q", disturb=True)
    assert session.queues["q"] == [b"a", b"b"]


def test_purges() -> None:
    """Of one state, by the broker's own count."""
    session = FakeSession(q=[b"a"], dead=[b"d", b"e"])
    reader = reader_of(session)
    assert reader.plan_purge("q", "dead").matched == 2
    assert reader.purge("q", "dead").done == 2
    assert reader.purge("q").done == 1
    shared = {name: Declaration(arguments=TO_DEAD) for name in ("q", "r")}
    reader = reader_of(session, None, shared)
    with pytest.raises(RefusedError, match="dead has dead letters of 2 queues"):
        reader.purge("q", "dead")
    with pytest.raises(RefusedError, match="needs a look at them"):
        reader.purge("q", "ready", Selection(id="i"))
    nothing = reader_of(session, None, {"q": Declaration()})
    with pytest.raises(RefusedError, match="whether a policy does"):
        nothing.requeue("q")
