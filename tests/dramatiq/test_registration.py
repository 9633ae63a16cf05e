"""Adding the middleware to a broker and removing it."""

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


def test_instrument_puts_middleware_first_and_returns_it(shop: Shop) -> None:
    """It comes before all middleware that is in the list."""
    middleware = shop.instrument()
    assert isinstance(middleware, OpenTelemetryMiddleware)
    assert shop.broker.middleware[0] is middleware
    assert len(shop.broker.middleware) == len(default_middleware) + 1


def test_instrument_again_moves_existing_middleware_to_front(shop: Shop) -> None:
    """The existing middleware stays, and no second one is added."""
    middleware = shop.append()
    assert shop.broker.middleware[-1] is middleware
    assert shop.instrument() is middleware
    assert shop.instrument() is middleware
    assert shop.broker.middleware[0] is middleware
    assert sum(isinstance(m, OpenTelemetryMiddleware) for m in shop.broker.middleware) == 1


def test_instrument_again_with_options_warns_that_they_are_unused(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """The options of the existing middleware stay."""
    shop.instrument()
    instrument(shop.broker, relation="link")
    assert "relation" in caplog.text


def test_instrument_broker_without_middleware_traces_it(shop: Shop) -> None:
    """An empty list of middleware is no error."""
    shop.broker = StubBroker(middleware=[])
    shop.instrument()
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    assert len(shop.spans()) == 2


def test_middleware_by_dotted_path_without_arguments_works() -> None:
    """django-dramatiq and others make a middleware this way."""
    module, _, name = "otel_queue_plugins.dramatiq.OpenTelemetryMiddleware".rpartition(".")
    middleware = getattr(importlib.import_module(module), name)()
    broker = StubBroker(middleware=[middleware, *[make() for make in default_middleware]])
    message = Message(queue_name="default", actor_name="x", args=(), kwargs={}, options={})
    broker.declare_queue("default")
    broker.enqueue(message)
    assert "traceparent" not in message.options.get("otel", {})
    uninstrument(broker)


def test_missing_attribute_of_package_raises_attribute_error() -> None:
    """Only the three public names are looked up late."""
    import otel_queue_plugins.dramatiq as package

    with pytest.raises(AttributeError, match="no attribute 'middlewares'"):
        _ = package.middlewares


def test_middleware_that_is_not_first_warns_once_at_worker_boot(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning says what is missing and how to put it first."""
    shop.append()
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    (warning,) = [r for r in caplog.records if r.name == "otel_queue_plugins"]
    assert warning.levelno == logging.WARNING
    assert f"comes after {default_middleware[0].__name__}" in warning.getMessage()
    assert "instrument(broker)" in warning.getMessage()


def test_middleware_that_is_first_logs_nothing(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """There is no log record at boot or later."""
    shop.instrument()
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    assert [r for r in caplog.records if r.name == "otel_queue_plugins"] == []


def test_second_middleware_of_ours_warns_and_records_nothing(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """Each message has one span and one count, and there is one warning."""
    shop.instrument()
    shop.append()
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    assert [span.name for span in shop.spans()] == ["send add", "process add"]
    assert shop.total("messaging.client.sent.messages") == 1
    ours = [r for r in caplog.records if "does nothing" in r.getMessage()]
    assert len(ours) == 1


def test_uninstrument_restores_broker(shop: Shop) -> None:
    """Its attributes and middleware are the former ones; a reference to a wrapper still works."""
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


def test_uninstrument_keeps_wrapper_of_other_code(shop: Shop) -> None:
    """Our wrapper below it becomes a plain call."""
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


def test_uninstrument_of_uninstrumented_broker_does_nothing(shop: Shop) -> None:
    """It may be called twice."""
    uninstrument(shop.broker)
    shop.instrument()
    uninstrument(shop.broker)
    uninstrument(shop.broker)
    assert [type(m) for m in shop.broker.middleware] == default_middleware


def test_broker_can_be_instrumented_again(shop: Shop) -> None:
    """With a new middleware, or with the one that was removed."""
    middleware = shop.instrument()
    uninstrument(shop.broker)
    shop.broker.add_middleware(middleware)
    shop.actor(lambda: None, actor_name="add").send()
    shop.work()
    assert len(shop.spans()) == 2


def test_middleware_on_two_brokers_traces_both(shop: Shop) -> None:
    """Each broker has its own actors."""
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


def test_two_brokers_with_own_middleware_share_metric_series(shop: Shop) -> None:
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


def test_actors_declared_before_instrument_are_traced(shop: Shop) -> None:
    """The order of imports does not matter."""
    add = shop.actor(lambda: None, actor_name="add")
    shop.instrument()
    add.send()
    shop.work()
    assert len(shop.spans()) == 2


def test_worker_started_before_instrument_is_traced_from_then_on(shop: Shop) -> None:
    """Its threads have booted without our hooks."""
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
def test_constructor_with_wrong_option_raises(options: dict[str, Any], message: str) -> None:
    """The message has the value and the choices."""
    with pytest.raises(ValueError, match=message):
        OpenTelemetryMiddleware(**options)


def test_constructor_with_unknown_option_raises() -> None:
    """A typo is not ignored."""
    with pytest.raises(TypeError, match="relations"):
        OpenTelemetryMiddleware(relations="link")


def test_constructor_with_wrong_variable_and_strict_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `OTEL_QUEUE_STRICT` a wrong variable is logged."""
    monkeypatch.setenv("OTEL_QUEUE_STRICT", "true")
    monkeypatch.setenv("OTEL_PROPAGATORS", "no-such-thing")
    with pytest.raises(ConfigurationError, match="OTEL_PROPAGATORS"):
        OpenTelemetryMiddleware()


def test_subclass_of_middleware_is_found(shop: Shop) -> None:
    """A user's subclass counts as our middleware."""

    class Mine(OpenTelemetryMiddleware):
        pass

    mine = Mine(**shop.providers)
    shop.broker.add_middleware(mine)
    assert shop.instrument() is mine


def test_actor_options_are_accepted_by_dramatiq(shop: Shop) -> None:
    """Dramatiq refuses options that no middleware declares."""
    with pytest.raises(ValueError, match="otel_trace"):
        shop.actor(lambda: None, actor_name="a", otel_trace=False)
    shop.instrument()
    shop.actor(lambda: None, actor_name="a", otel_trace=False, otel_relation="link")


def test_actor_with_wrong_relation_raises_at_declaration(shop: Shop) -> None:
    """The message has the actor, the value and the choices."""
    shop.instrument()
    with pytest.raises(ValueError, match=r"actor add: otel_relation: .*'sibling' is not one of"):
        shop.actor(lambda: None, actor_name="add", otel_relation="sibling")


def test_message_without_providers_is_processed_without_carrier() -> None:
    """Without an endpoint a message carries nothing of this package."""
    broker = StubBroker()
    broker.add_middleware(Middleware())
    instrument(broker)
    message = Message(queue_name="default", actor_name="x", args=(), kwargs={}, options={})
    broker.declare_queue("default")
    broker.enqueue(message)
    assert message.options == {}
    uninstrument(broker)
