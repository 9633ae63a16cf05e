"""The destination is the queue by the name its users know, for any exchange and routing key."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Reject
from kombu import Exchange, Queue, binding
from kombu.common import Broadcast

from otel_queue_plugins.celery import destinations
from otel_queue_plugins.celery.destinations import destination, published_to
from otel_queue_plugins.celery.routes import CeleryRoute, Routes
from tests.celery.conftest import Telemetry, instrumenting, memory_app, running

EVENTS, NEWS = Exchange("events", type="topic"), Exchange("news", type="fanout")
NAME = "messaging.destination.name"


def delayed(seconds: int, routing_key: str) -> str:
    """The result of `kombu.transport.native_delayed_delivery.calculate_routing_key`."""
    return ".".join(f"{seconds:028b}") + f".{routing_key}"


def app_with(*queues: Queue) -> Celery:
    """An app that declares these queues."""
    app = Celery(set_as_current=False)
    app.conf.task_queues = queues
    return app


@pytest.fixture(scope="module")
def shop() -> Celery:
    """Queues of each kind, not all named as their routing keys are."""
    return app_with(
        Queue("mail", Exchange("mail"), routing_key="mail"),
        Queue("orders", EVENTS, routing_key="order.#"),
        Queue("bits", EVENTS, routing_key="0.1.bits"),
        Queue("bulk", Exchange("bulk", type="topic"), routing_key="bulk.key"),
        Queue("two", [binding(EVENTS, routing_key="one.*"), binding(EVENTS, routing_key="two")]),
        Queue("left", NEWS),
        Queue("right", NEWS),
        Queue("only", Exchange("single", type="fanout")),
    )


@pytest.mark.parametrize(
    ("exchange", "routing_key", "queue"),
    [
        ("", "mail", "mail"),
        ("", "", "celery"),
        ("", "0.1.mail", "0.1.mail"),
        ("events", "order.paid", "orders"),
        ("events", "order.paid.twice", "orders"),
        ("events", "order", "orders"),
        ("events", "orders", "orders"),
        ("events", "reorder.paid", "reorder.paid"),
        ("events", "one.more", "two"),
        ("events", "one", "one"),
        ("events", "two", "two"),
        ("events", "nobody.listens", "nobody.listens"),
        ("elsewhere", "", "elsewhere"),
        ("single", "whatever", "only"),
    ],
)
def test_destination_is_queue_behind_exchange(
    shop: Celery, exchange: str, routing_key: str, queue: str
) -> None:
    """If the app declares a matching queue; else it is the routing key."""
    assert destination(shop, exchange, routing_key) == queue


@pytest.mark.parametrize(
    ("exchange", "routing_key"), [("news", "celery"), ("news", "x"), ("a", "celery")]
)
def test_destination_without_meaningful_routing_key_is_exchange(
    shop: Celery, exchange: str, routing_key: str
) -> None:
    """For a fanout to several queues, and for the default routing key."""
    assert destination(shop, exchange, routing_key) == exchange


@pytest.mark.parametrize("exchange", ["27", "3", "0", "delivery"])
@pytest.mark.parametrize("prefix", ["", "shop_", "my_own_"])
@pytest.mark.parametrize("seconds", [1, 2, 3, 2**28 - 1])
@pytest.mark.parametrize(
    ("routing_key", "queue"),
    [("bulk.key", "bulk"), ("0.1.bits", "bits"), ("order.#", "orders"), ("1.0.x", "1.0.x")],
)
def test_destination_of_delayed_message_has_no_delay(
    shop: Celery, prefix: str, exchange: str, seconds: int, routing_key: str, queue: str
) -> None:
    """For any delay, exchange and prefix; a routing key that begins with bits keeps them.

    Kombu 5.5 puts a second delay before the first one when such a message is retried.
    """
    through, key = f"{prefix}celery_delayed_{exchange}", delayed(seconds, routing_key)
    assert destination(shop, through, key) == queue
    assert destination(shop, through, delayed(5, key)) == queue


def test_destination_of_delayed_message_on_other_exchange_has_no_delay(shop: Celery) -> None:
    """A dead-letter exchange gets the message with the delay."""
    assert destination(shop, "events", delayed(3, "order.paid")) == "orders"
    assert destination(shop, "events", delayed(3, "nobody.listens")) == "nobody.listens"


def test_destination_of_exchange_with_similar_name_is_unchanged(shop: Celery) -> None:
    """Without a delay in the routing key nothing is removed."""
    assert destination(shop, "celery_delayed_3", "0.1.mine") == "0.1.mine"


def test_routes_of_all_delays_are_one(shop: Celery) -> None:
    """There is one metric series, and nothing is searched twice."""
    routes = Routes()
    found = {
        routes.find(shop, "add", "celery_delayed_27", delayed(n, "bulk.key"), reading=False)
        for n in range(1, 50)
    }
    assert [route.destination for route in found] == ["bulk"]


def test_destination_of_broadcast_is_its_name() -> None:
    """It is the name that users gave it, although its queue has a fresh id in each process."""
    for _ in range(2):
        app = app_with(
            Broadcast("news"),
            Broadcast("old", queue="old.here"),
            Broadcast("hot", queue="hot", unique=True),
            Broadcast("alias", alias="other"),
            Broadcast(exchange=Exchange("bare", type="fanout")),
        )
        names = {name: destination(app, name, "celery") for name in ("news", "old", "hot", "bare")}
        assert names == {"news": "news", "old": "old", "hot": "hot", "bare": "bare"}
        assert destination(app, "alias", "") == "other"
    assert destination(app_with(Queue("mail")), "news", "celery") == "news"


def test_destination_of_generated_queue_name_is_its_alias() -> None:
    """Also on a direct exchange, where messages are sent by the generated name."""
    made_up = uuid.uuid4().hex
    app = app_with(Queue(made_up, alias="replies"))
    assert destination(app, "", made_up) == "replies"
    assert destination(app, "", "replies") == "replies"


def test_published_to_is_what_celery_publishes_to() -> None:
    """As `AMQP._create_task_sender` does: without a routing key, only an exchange is left."""
    broadcast = Broadcast("news")
    assert published_to({"queue": broadcast, "exchange": "news"}) == ("news", None)
    assert published_to({"queue": broadcast}) == (broadcast.exchange, "")
    assert published_to({"queue": Queue("mail", Exchange("mail"))}) == ("", "mail")


def test_broadcast_has_same_destination_in_sender_and_worker() -> None:
    """Both spans and every metric have its name."""
    app = memory_app(task_queues=(Queue("plain"), Broadcast("news")))
    app.conf.task_default_queue = "plain"
    app.conf.task_routes = {"tell": {"queue": "news", "exchange": "news"}}

    @app.task(shared=False, name="tell")
    def tell() -> None:
        """Succeeds."""

    with instrumenting(app) as telemetry, running(app):
        tell.delay()
        assert [span.attributes[NAME] for span in telemetry.expect(2)] == ["news", "news"]
        assert _destinations(telemetry) == {"news"}


def _destinations(telemetry: Telemetry) -> set[Any]:
    metrics = ("messaging.client.sent.messages", "messaging.client.consumed.messages")
    return {point.attributes[NAME] for name in metrics for point in telemetry.points(name)}


@pytest.mark.parametrize("protocol", [1, 2])
def test_delayed_message_has_no_delay_in_spans_and_metrics(protocol: int) -> None:
    """Whatever its outcome is: success, a retry, a reject, an unknown task."""
    jobs = Queue("jobs", Exchange("celery_delayed_delivery", type="topic"), routing_key="#")
    app = memory_app(task_protocol=protocol, task_queues=[jobs])

    @app.task(shared=False, name="work", bind=True, max_retries=1)
    def work(self: Any, ending: str) -> None:
        if ending == "retry" and not self.request.retries:
            raise self.retry(countdown=0)
        if ending == "reject":
            raise Reject("no", requeue=False)

    with instrumenting(app) as telemetry, running(app):
        for number, ending in enumerate(("success", "retry", "reject")):
            app.send_task("work", (ending,), **_delayed(2 * number + 1))
        app.send_task("unknown", **_delayed(7))
        spans = telemetry.expect(9)
        assert {span.attributes[NAME] for span in spans} == {"jobs"}
        assert _destinations(telemetry) == {"jobs"}
    outcomes = {span.attributes.get("taskqueue.task.outcome") for span in spans}
    assert outcomes == {None, "success", "retry", "rejected", "unknown_task"}


def _delayed(seconds: int) -> dict[str, Any]:
    """As Celery sends it: the queue is forgotten, the exchange is that of the first delay."""
    return {
        "exchange": Exchange("celery_delayed_delivery", type="topic"),
        "routing_key": delayed(seconds, "jobs"),
    }


def dead_letter_queue(app: Celery, exchange: str, routing_key: str) -> str | None:
    """The queue for rejected messages that came through `exchange` with `routing_key`."""
    app.conf.broker_url = "amqp://"
    route = Routes().find(app, "work", exchange, routing_key, reading=True)
    assert isinstance(route, CeleryRoute)
    return destinations.dead_letter_queue(app, route)


def _jobs(exchange: str, routing_key: str | None = None) -> Queue:
    arguments = {"x-dead-letter-exchange": exchange, "x-dead-letter-routing-key": routing_key}
    return Queue(
        "jobs",
        Exchange("jobs", type="topic"),
        routing_key="jobs.#",
        queue_arguments={name: value for name, value in arguments.items() if value is not None},
    )


ALL = Queue("all", Exchange("dead", type="topic"), routing_key="#")
SOME = Queue("some", Exchange("dead", type="topic"), routing_key="jobs.*")


@pytest.mark.parametrize(
    ("queues", "at_once", "after_a_delay"),
    [
        ([_jobs("dead"), SOME], "some", None),
        ([_jobs("dead"), ALL], "all", "all"),
        ([_jobs("dead", "jobs.dead"), SOME], "some", "some"),
        ([_jobs("", "buried")], "buried", "buried"),
        ([_jobs("")], "jobs.mail", None),
        ([_jobs("dead")], "jobs.mail", None),
        ([Queue("jobs", Exchange("jobs", type="topic"), routing_key="jobs.#")], None, None),
    ],
)
def test_dead_letter_queue_is_found_by_routing_key_with_delay(
    queues: list[Queue], at_once: str | None, after_a_delay: str | None
) -> None:
    """RabbitMQ drops a message that no queue is bound for; then no queue is named."""
    app = app_with(*queues)
    assert dead_letter_queue(app, "jobs", "jobs.mail") == at_once
    through = "celery_delayed_delivery"
    assert dead_letter_queue(app, through, delayed(1, "jobs.#")) == after_a_delay


def test_dead_letter_queue_of_broadcast_is_found() -> None:
    """By the name that users know it by."""
    app = app_with(
        Broadcast("news", queue_arguments={"x-dead-letter-exchange": "dead"}),
        Queue("all", Exchange("dead", type="topic"), routing_key="#"),
    )
    assert dead_letter_queue(app, "news", "celery") == "all"
