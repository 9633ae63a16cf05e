"""How the middleware gets into a broker, and out of it."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

import pytest
from dramatiq import Message, Worker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import Middleware, default_middleware

from otel_queue_plugins.dramatiq import OpenTelemetryMiddleware, instrument, uninstrument
from otel_queue_plugins.sdk import ConfigurationError

if TYPE_CHECKING:
    from tests.dramatiq.conftest import Shop


def test_instrument_puts_it_first_and_returns_it(shop: Shop) -> None:
    """Whatever is there already."""
    middleware = shop.instrument()
    assert isinstance(middleware, OpenTelemetryMiddleware)
    assert shop.broker.middleware[0] is middleware
    assert len(shop.broker.middleware) == len(default_middleware) + 1


def test_instrument_is_idempotent_and_moves_what_is_elsewhere(shop: Shop) -> None:
    """The one that is there stays, and comes first."""
    middleware = shop.append()
    assert shop.broker.middleware[-1] is middleware
    assert shop.instrument() is middleware
    assert shop.instrument() is middleware
    assert shop.broker.middleware[0] is middleware
    assert sum(isinstance(m, OpenTelemetryMiddleware) for m in shop.broker.middleware) == 1


def test_instrument_says_that_new_options_are_not_used(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """They belong to the middleware that is there already."""
    shop.instrument()
    instrument(shop.broker, relation="link")
    assert "relation" in caplog.text


def test_a_broker_without_any_middleware_works(shop: Shop) -> None:
    """There is nothing to be before."""
    shop.broker = StubBroker(middleware=[])
    shop.instrument()
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    assert len(shop.spans()) == 2


def test_it_works_without_arguments_and_by_dotted_path() -> None:
    """As django-dramatiq and others make it."""
    module, _, name = "otel_queue_plugins.dramatiq.OpenTelemetryMiddleware".rpartition(".")
    middleware = getattr(importlib.import_module(module), name)()
    broker = StubBroker(middleware=[middleware, *[make() for make in default_middleware]])
    message = Message(queue_name="default", actor_name="x", args=(), kwargs={}, options={})
    broker.declare_queue("default")
    broker.enqueue(message)
    assert "traceparent" not in message.options.get("otel", {})
    uninstrument(broker)


def test_a_module_attribute_that_does_not_exist_is_an_attribute_error() -> None:
    """Names are looked up late, but only the three."""
    import otel_queue_plugins.dramatiq as package

    with pytest.raises(AttributeError, match="no attribute 'middlewares'"):
        _ = package.middlewares


def test_appended_last_it_warns_once_at_worker_boot(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """It says what would be better and how."""
    shop.append()
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    (warning,) = [r for r in caplog.records if r.name == "otel_queue_plugins"]
    assert warning.levelno == logging.WARNING
    assert f"comes after {default_middleware[0].__name__}" in warning.getMessage()
    assert "instrument(broker)" in warning.getMessage()


def test_first_it_says_nothing(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Neither at boot nor ever."""
    shop.instrument()
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    assert [r for r in caplog.records if r.name == "otel_queue_plugins"] == []


def test_a_second_middleware_of_ours_does_nothing_but_warn(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """One span each, one count each, one warning."""
    shop.instrument()
    shop.append()
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    assert [span.name for span in shop.spans()] == ["send add", "process add"]
    assert shop.total("messaging.client.sent.messages") == 1
    ours = [r for r in caplog.records if "does nothing" in r.getMessage()]
    assert len(ours) == 1


def test_uninstrument_restores_the_broker(shop: Shop) -> None:
    """Attributes, middleware, and what somebody holds on to."""
    before, middleware = set(vars(shop.broker)), list(shop.broker.middleware)
    shop.instrument()
    held = shop.broker.enqueue
    uninstrument(shop.broker)
    assert set(vars(shop.broker)) == before
    assert shop.broker.middleware == middleware
    add = shop.actor(lambda: None, actor_name="add")
    held(add.message())
    add.send()
    shop.work()
    assert shop.spans() == []


def test_uninstrument_leaves_a_wrapper_of_somebody_else_in_place(shop: Shop) -> None:
    """Ours under it becomes a plain call."""
    shop.instrument()
    ours, seen = shop.broker.enqueue, []

    def theirs(message: Any, **kwargs: Any) -> Any:
        seen.append(message)
        return ours(message, **kwargs)

    shop.broker.enqueue = theirs
    uninstrument(shop.broker)
    shop.actor(lambda: None, actor_name="add").send()
    assert len(seen) == 1
    assert shop.spans() == []


def test_uninstrument_of_a_broker_without_us_does_nothing(shop: Shop) -> None:
    """And it can be done twice."""
    uninstrument(shop.broker)
    shop.instrument()
    uninstrument(shop.broker)
    uninstrument(shop.broker)
    assert [type(m) for m in shop.broker.middleware] == default_middleware


def test_a_broker_can_be_instrumented_again(shop: Shop) -> None:
    """With a new middleware, or with the one that was removed."""
    middleware = shop.instrument()
    uninstrument(shop.broker)
    shop.broker.add_middleware(middleware)
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    assert len(shop.spans()) == 2


def test_a_middleware_may_serve_two_brokers(shop: Shop) -> None:
    """Each with its own actors."""
    middleware = shop.instrument()
    add = shop.actor(lambda: None, actor_name="add")
    first = shop.broker
    shop.broker = StubBroker()
    shop.broker.add_middleware(middleware)
    shop.actor(lambda: None, actor_name="sub").send()
    shop.work()
    add.send()
    assert [span.name for span in shop.spans()] == ["send sub", "process sub", "send add"]
    uninstrument(first)


def test_two_brokers_with_a_middleware_each_count_together(shop: Shop) -> None:
    """No series has two writers, and none is dropped."""
    shop.instrument()
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    first, shop.broker = shop.broker, StubBroker()
    shop.instrument()
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    assert shop.total("messaging.client.sent.messages") == 2
    assert shop.total("messaging.client.consumed.messages") == 2
    uninstrument(first)


def test_actors_declared_before_are_covered(shop: Shop) -> None:
    """The order of imports does not matter."""
    add = shop.actor(lambda: None, actor_name="add")
    shop.instrument()
    add.send()
    shop.work()
    assert len(shop.spans()) == 2


def test_a_worker_started_before_is_covered_from_then_on(shop: Shop) -> None:
    """Its threads have booted without us."""
    add = shop.actor(lambda: None, actor_name="add")
    worker = Worker(shop.broker, worker_timeout=10, worker_threads=1)
    worker.start()
    shop.instrument()
    add.send()
    shop.broker.join("default")
    worker.join()
    worker.stop()
    assert len(shop.spans()) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"relation": "sibling"}, "relation: 'sibling' is not one of 'child', 'link'"),
        ({"span_name": "actor"}, "span_name: 'actor' is not one of 'task', 'queue'"),
        ({"auto_link_after": 0}, "auto_link_after: 0 is not a number above 0"),
    ],
)
def test_a_wrong_option_raises_in_the_constructor(options: dict[str, Any], message: str) -> None:
    """With the value and the choices."""
    with pytest.raises(ValueError, match=message):
        OpenTelemetryMiddleware(**options)


def test_an_option_that_does_not_exist_raises() -> None:
    """A typo is not ignored."""
    with pytest.raises(TypeError, match="relations"):
        OpenTelemetryMiddleware(relations="link")


def test_strict_settings_raise_in_the_constructor(monkeypatch: pytest.MonkeyPatch) -> None:
    """With OTEL_QUEUE_STRICT; otherwise they are logged."""
    monkeypatch.setenv("OTEL_QUEUE_STRICT", "true")
    monkeypatch.setenv("OTEL_PROPAGATORS", "no-such-thing")
    with pytest.raises(ConfigurationError, match="OTEL_PROPAGATORS"):
        OpenTelemetryMiddleware()


def test_a_middleware_of_ours_is_found_by_subclass(shop: Shop) -> None:
    """A user's subclass is one of ours."""

    class Mine(OpenTelemetryMiddleware):
        pass

    mine = Mine(**shop.providers)
    shop.broker.add_middleware(mine)
    assert shop.instrument() is mine


def test_actor_options_are_declared(shop: Shop) -> None:
    """Dramatiq refuses those that no middleware knows."""
    with pytest.raises(ValueError, match="otel_trace"):
        shop.actor(lambda: None, actor_name="a", otel_trace=False)
    shop.instrument()
    shop.actor(lambda: None, actor_name="a", otel_trace=False, otel_relation="link")


def test_a_wrong_relation_of_an_actor_raises_where_it_is_declared(shop: Shop) -> None:
    """With the actor, the value and the choices."""
    shop.instrument()
    with pytest.raises(ValueError, match=r"actor add: otel_relation: .*'sibling' is not one of"):
        shop.actor(lambda: None, actor_name="add", otel_relation="sibling")


def test_without_providers_nothing_is_recorded_and_nothing_breaks() -> None:
    """No endpoint set: the message carries nothing of ours that costs a byte worth naming."""
    broker = StubBroker()
    broker.add_middleware(Middleware())
    instrument(broker)
    message = Message(queue_name="default", actor_name="x", args=(), kwargs={}, options={})
    broker.declare_queue("default")
    broker.enqueue(message)
    assert message.options == {}
    uninstrument(broker)
