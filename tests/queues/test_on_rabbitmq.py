"""Queues on RabbitMQ, without a server: what is taken, what goes back, what is refused."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from otel_queue_plugins.brokers.answers import Unknown
from otel_queue_plugins.brokers.bounded import BoundedThread
from otel_queue_plugins.brokers.errors import BrokerError, RefusedError
from otel_queue_plugins.brokers.facts import Source
from otel_queue_plugins.brokers.on_rabbitmq import dead_letters, limits
from otel_queue_plugins.brokers.on_rabbitmq.dead_letters import DeadLetters, Declaration
from otel_queue_plugins.brokers.on_rabbitmq.dramatiq import DramatiqOnRabbitmq
from otel_queue_plugins.brokers.on_rabbitmq.management import (
    Details,
    Management,
    ManagementError,
)
from otel_queue_plugins.brokers.on_rabbitmq.reach import NO_API, Api
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.brokers.selection import Selection
from tests.queues.sessions import FakeSession

if TYPE_CHECKING:
    from collections.abc import Iterator


PASSWORD = "sesame"  # noqa: S105 - of nothing


def body(identity: str) -> bytes:
    """A message of Dramatiq."""
    return json.dumps(
        {"message_id": identity, "actor_name": "act", "options": {"retries": 3}, "args": []}
    ).encode()


def reader_of(session: Any) -> QueueReader:
    """A reader without the management API."""
    source = Source(framework="dramatiq", system="rabbitmq", url="amqp://host")
    storage = DramatiqOnRabbitmq(
        source, session, Api(None), declared=dict, attempts=lambda _actor: None
    )
    return QueueReader(storage, lambda: 1000.0)


def ids(bodies: list[bytes]) -> list[str]:
    """The ids of messages."""
    return [json.loads(each)["message_id"] for each in bodies]


def queues(*dead: str) -> dict[str, list[bytes]]:
    """A family of queues."""
    return {"orders": [], "orders.DQ": [], "orders.XQ": [body(each) for each in dead]}


def test_a_requeue_publishes_first_and_removes_then() -> None:
    """To the queue that it died in, by its known name."""
    session = FakeSession(**queues("a", "b", "c"))
    moved: list[str] = []
    change = reader_of(session).requeue("orders", moved=lambda each: moved.append(each.id))
    assert (change.done, moved) == (3, ["a", "b", "c"])
    assert ids(session.queues["orders"]) == moved
    assert session.queues["orders.XQ"] == []
    assert "retries" not in json.loads(session.queues["orders"][0])["options"]


@pytest.mark.parametrize("call", ["publish", "ack"])
def test_what_fails_in_between_leaves_one_too_many_and_never_one_too_few(call: str) -> None:
    """The dead letter goes back with the connection."""
    session = FakeSession(**queues("a", "b"))
    session.broken.add(call)
    with pytest.raises(BrokerError, match=rf"^amqp://host: {call} failed$"):
        reader_of(session).requeue("orders")
    assert not session.is_open
    left = ids(session.queues["orders.XQ"]) + [
        json.loads(b)["message_id"] for _, b in session.held.values()
    ]
    assert sorted(left) == ["a", "b"]


def test_what_cannot_be_put_back_stays_and_the_others_go_on() -> None:
    """In their order, with the reason and its number."""
    session = FakeSession(**queues("a", "b", "c"))
    session.queues["orders.XQ"].insert(1, b"\x80 a pickle")
    change = reader_of(session).requeue("orders")
    assert (change.matched, change.done) == (4, 3)
    assert change.left == {"it is not JSON; messages of other encoders are not opened": 1}
    assert session.queues["orders.XQ"] == [b"\x80 a pickle"]


def test_a_queue_that_is_gone_is_said() -> None:
    """Nothing is made by putting a message back."""
    session = FakeSession(**queues("a"))
    del session.queues["orders"]
    change = reader_of(session).requeue("orders")
    assert change.left == {"there is no queue orders any more": 1}
    assert ids(session.queues["orders.XQ"]) == ["a"]


def test_a_look_is_made_again_only_if_the_connection_was_idle() -> None:
    """One failure of a connection that was used before may be its end; another one is an error."""
    session = FakeSession(**queues())
    reader = reader_of(session)
    session.broken.add("declared")
    calls: list[str] = []
    check = session._check
    session._check = lambda call: (calls.append(call), check(call))  # type: ignore[method-assign]
    with pytest.raises(BrokerError, match="declared failed"):
        reader.states(["orders"])
    assert calls == ["declared", "declared"]
    with pytest.raises(BrokerError):
        reader.states(["orders"])
    assert len(calls) == 3
    assert reader.states([]) == []


DECLARED = {
    "orders": Declaration(
        arguments={"x-dead-letter-exchange": "dlx", "x-dead-letter-routing-key": "dead"}
    ),
    "plain": Declaration(routing_key="plain"),
    "default": Declaration(
        arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "there"}
    ),
    "nowhere": Declaration(arguments={"x-dead-letter-exchange": "unbound"}),
    "many": Declaration(arguments={"x-dead-letter-exchange": "fan"}),
    "d": Declaration(exchange="dlx", routing_key="dead"),
    "e": Declaration(exchange="dlx", routing_key="else"),
    "f": Declaration(exchange="fan", routing_key="x"),
    "g": Declaration(exchange="fan", routing_key="y"),
}


@pytest.mark.parametrize(
    ("queue", "details", "target"),
    [
        ("orders", NO_API, "d"),
        ("default", NO_API, "there"),
        ("plain", NO_API, "whether a policy does"),
        ("plain", Details(kind="classic", policy={}), "is removed"),
        ("plain", Details(kind="classic"), "whether a policy does"),
        ("plain", Details(kind="classic", policy={"dead-letter-exchange": "dlx"}), "to 2 queues"),
        ("plain", Details(kind="classic", arguments={"x-dead-letter-exchange": ""}), "plain"),
        ("nowhere", NO_API, "which queue is bound to unbound"),
        ("many", NO_API, "to 2 queues"),
        ("unheard", NO_API, "whether a policy does"),
    ],
)
def test_where_dead_letters_go(queue: str, details: Any, target: str) -> None:
    """By what the app declares, else by the broker; never a guess between several."""
    found = DeadLetters(Api(None), lambda: DECLARED).of(queue, details)
    if isinstance(found, Unknown):
        assert target in found.reason
    else:
        assert found == target


@pytest.mark.parametrize(
    ("details", "allowed"),
    [
        (None, "only the management API tells"),
        (Details(kind="classic"), None),
        (Details(kind="stream"), "of the type stream"),
        (Details(kind="quorum"), 10),
        (Details(kind="quorum", arguments={"x-delivery-limit": 30}), 15),
        (Details(kind="quorum", policy={"delivery-limit": 9}), "after 9 deliveries"),
        (
            Details(
                kind="quorum", arguments={"x-delivery-limit": 30}, policy={"delivery-limit": 12}
            ),
            6,
        ),
    ],
    ids=str,
)
def test_looks_that_are_allowed(details: Any, allowed: Any) -> None:
    """The lower of two limits holds; what is not known is not tried."""
    if isinstance(allowed, str):
        with pytest.raises(RefusedError, match=allowed):
            limits.allowed("q", details)
    else:
        assert limits.allowed("q", details) == allowed


def test_deaths_are_read_without_trust() -> None:
    """The latest is the first."""
    assert dead_letters.origin({"x-death": [{"queue": "a"}, {"queue": "b"}]}) == "a"
    for headers in ({}, {"x-death": []}, {"x-death": 5}, {"x-death": [5]}):
        assert dead_letters.origin(headers) is None
        assert dead_letters.died_at(headers) is None


def test_a_call_that_hangs_is_given_up() -> None:
    """In time; its thread ends when the call does, and cleans up."""
    release, ended = threading.Event(), threading.Event()
    thread = BoundedThread(ended.set)
    assert thread.call(lambda: 5, 60) == 5
    with pytest.raises(ZeroDivisionError):
        thread.call(lambda: 1 / 0, 60)
    with pytest.raises(TimeoutError, match=r"no answer in 0\.05 s"):
        thread.call(lambda: release.wait(60), 0.05)
    assert not ended.is_set()
    release.set()
    assert ended.wait(30)


@contextmanager
def api(status: int, answer: bytes) -> Iterator[tuple[str, list[str]]]:
    """A server with one answer; what it was asked, with the credentials."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers['Authorization']}")
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def management(url: str) -> Management:
    """The API at `url`, as the user of a broker."""
    return Management(url, user="me", password=PASSWORD, vhost="/a b", timeout=2)


def test_the_api_is_asked_as_the_user_of_the_broker_or_as_the_one_in_its_url(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the URL that was named, by no proxy."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with api(200, b'[{"name": "q", "messages_ready": 3}]') as (url, asked):
        totals = management(f"{url}/prefix/").totals()
        management(url.replace("//", "//you:p%40ss@")).totals()
    assert (totals["q"].ready, totals["q"].unacked) == (3, None)
    path = "/api/queues/%2Fa%20b?disable_stats=true&enable_queue_totals=true"
    assert asked == [f"/prefix{path} Basic bWU6c2VzYW1l", f"{path} Basic eW91OnBAc3M="]


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (401, b"", "the user needs the tag `management`"),
        (404, b"", "HTTP 404"),
        (302, b"", "HTTP 302"),
        (200, b"<html>", "no JSON"),
        (200, b'["' + b"x" * 8_000_001 + b'"]', "too much of it"),
    ],
)
def test_an_api_that_answers_otherwise(status: int, answer: bytes, said: str) -> None:
    """The text has where and why, and no password."""
    with api(status, answer) as (url, _), pytest.raises(ManagementError) as raised:
        management(url).totals()
    text = str(raised.value)
    assert said in text
    assert url.removeprefix("http://") in text
    assert "sesame" not in text


@pytest.mark.parametrize("answer", [b"5", b"null", b'{"a": 1}', b"[5, null]"])
def test_an_api_that_answers_something_else_is_read_without_trust(answer: bytes) -> None:
    """Nothing is known then."""
    with api(200, answer) as (url, _):
        found = management(url)
        assert not any(each.ready for each in found.totals().values())
        assert found.details("q") == Details(kind=None)
        assert found.bound("e") == []


@pytest.mark.parametrize("url", ["ftp://host", "host:15672", "http://"])
def test_a_url_that_is_none_of_an_api(url: str) -> None:
    """The error has the value."""
    with pytest.raises(ValueError, match="is not an http or https URL"):
        management(url)


def test_choosing_without_the_api_is_refused() -> None:
    """Before anything is taken; dry runs say the most there can be."""
    session = FakeSession(**queues("a"))
    reader = reader_of(session)
    with pytest.raises(RefusedError, match="only the management API tells"):
        reader.requeue("orders", Selection(task="act"))
    plan = reader.plan_requeue("orders", Selection(task="act"))
    assert plan.matched == 1
    assert plan.stays is not None
    assert session.held == {}
