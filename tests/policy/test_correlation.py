"""Correlation: values from arguments and one id, on spans, on log records and in baggage."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import baggage, context, propagate
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otel_queue_plugins.core.carrier import correlation
from otel_queue_plugins.core.messages import Ending, Membership, Outcome
from otel_queue_plugins.core.policy.arguments import Arguments
from tests.core.conftest import Queue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.policy.conftest import Exported

KEY = "taskqueue.correlation.tenant_id"
IDENTITY = "taskqueue.correlation_id"
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def charge(tenant: Any) -> None:
    """A task."""


def given(tenant: object) -> Arguments:
    """The arguments of a call of `charge`."""
    return Arguments((tenant,), {}, charge)


@pytest.fixture
def in_baggage() -> Iterator[Any]:
    """A function that sets baggage for the rest of the test."""
    tokens = []

    def set_(key: str, value: object) -> None:
        tokens.append(context.attach(baggage.set_baggage(key, value)))

    yield set_
    while tokens:
        context.detach(tokens.pop())


def test_value_is_on_send_and_process_span(queue: Queue) -> None:
    """From the arguments at both ends; the message carries nothing more."""
    own = queue.sibling(correlation="tenant_id=tenant.id,note=kwargs.note")
    carrier = own.send(arguments=given({"id": 7}))
    process = own.process(carrier, arguments=given({"id": 7}))
    assert [span.attributes[KEY] for span in own.spans()] == [7, 7]
    assert "taskqueue.correlation.note" not in process.attributes
    assert set(carrier) == {"traceparent", "otq"}


def test_value_is_taken_at_the_delivery_of_a_message_without_us(queue: Queue) -> None:
    """And handed on from there: what the task sends has it, too, and so has its retry."""
    own = queue.sibling(correlation="tenant_id=tenant", correlation_baggage=True)
    operation = own.start({}, arguments=given("acme"))
    inner = own.send()
    again: dict[str, object] = {}
    own.telemetry.requeue(operation, again)
    own.telemetry.end_process(operation, Ending(outcome=Outcome.RETRY))
    assert [span.attributes[KEY] for span in own.spans()] == ["acme", "acme"]
    assert inner["baggage"] == again["baggage"] == "tenant_id=acme"


@pytest.mark.parametrize("relation", ["child", "link", "none"])
def test_value_follows_in_every_relation(queue: Queue, relation: str) -> None:
    """Over sends of tasks that do not have the argument, as text from the start."""
    own = queue.sibling(
        correlation={"tenant_id": "tenant"}, correlation_baggage=True, relation=relation
    )
    carrier = own.send(arguments=given(7))
    for _ in range(3):
        operation = own.start(carrier)
        assert baggage.get_baggage("tenant_id") == "7"
        carrier = own.send()
        own.telemetry.end_process(operation, Ending(outcome=Outcome.SUCCESS))
    assert [span.attributes[KEY] for span in own.spans()] == ["7"] * 7


def test_value_of_the_message_wins_over_the_arguments(queue: Queue, in_baggage: Any) -> None:
    """At the send that of the current context, at the delivery that of the message."""
    own = queue.sibling(correlation="tenant_id=tenant")
    in_baggage("tenant_id", "outer")
    carrier = own.send(arguments=given("inner"))
    assert own.process(carrier, arguments=given("inner")).attributes[KEY] == "outer"
    assert own.spans()[0].attributes[KEY] == "outer"


def test_at_most_16_keys_count_and_the_rest_is_one_warning(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """The first ones; each value has at most 256 characters."""
    with caplog.at_level(logging.WARNING):
        own = queue.sibling(correlation={f"k{number}": "tenant" for number in range(18)})
    carrier = own.send(arguments=given("x" * 300))
    names = [name for name in own.spans()[0].attributes if ".correlation." in name]
    assert names == [f"taskqueue.correlation.k{number}" for number in range(16)]
    assert own.spans()[0].attributes[names[0]] == "x" * 256
    assert "the first 16 keys count, not k16, k17" in caplog.text
    assert "baggage" not in carrier


def test_values_that_do_not_fit_into_the_header_stay_on_the_spans(queue: Queue) -> None:
    """A header of more than 8 KiB is refused as a whole, with the baggage of the application."""
    keys = {f"k{number}": "tenant" for number in range(16)}
    own = queue.sibling(correlation=keys, correlation_baggage=True)
    carrier = own.send(arguments=given("€" * 256))
    assert 0 < len(str(carrier["baggage"])) <= correlation.MAX_BAGGAGE
    span = own.process(carrier, arguments=given("€" * 256))
    assert sum(".correlation." in name for name in span.attributes) == 16


def test_value_is_redacted(queue: Queue) -> None:
    """On spans and in baggage."""
    own = queue.sibling(correlation="tenant_id=tenant", correlation_baggage=True, redact="email")
    carrier = own.send(arguments=given("j@x.example"))
    assert own.spans()[0].attributes[KEY] == "[redacted:email]"
    assert "example" not in str(carrier["baggage"])


def test_one_id_is_on_all_that_follows(queue: Queue) -> None:
    """Over relations and retries; a UUID of version 7, made at the first send."""
    own = queue.sibling(correlation_id=True, relation="none", settle_spans=True)
    carrier = own.send()
    operation = own.start(carrier)
    inner = own.send()
    again: dict[str, object] = {}
    own.telemetry.requeue(operation, again)
    own.telemetry.end_process(operation, Ending(outcome=Outcome.RETRY))
    own.telemetry.end_settle(own.telemetry.start_settle(operation, "ack"))
    own.process(inner)
    own.process(again, attempt=2)
    found = {span.attributes[IDENTITY] for span in own.spans()}
    assert len(own.spans()) == 6
    assert len(found) == 1
    assert UUID7.fullmatch(found.pop())


def test_id_in_baggage_is_kept(queue: Queue, in_baggage: Any) -> None:
    """As a gateway may have set it."""
    own = queue.sibling(correlation_id=True)
    in_baggage("correlation_id", "request-7")
    assert own.process(own.send()).attributes[IDENTITY] == "request-7"
    assert own.spans()[0].attributes[IDENTITY] == "request-7"


def test_messages_sent_together_have_one_id(queue: Queue) -> None:
    """In one trace, or as members of one group; others have their own."""
    own = queue.sibling(correlation_id=True)
    with own.tracer_provider.get_tracer("t").start_as_current_span("request"):
        own.send()
        own.send()
    for index in range(2):
        own.send(membership=Membership(id="g", index=index))
    own.send()
    own.send()
    ids = [span.attributes[IDENTITY] for span in own.spans("send")]
    assert ids[0] == ids[1]
    assert ids[2] == ids[3]
    assert len(set(ids)) == 4


def test_remembered_ids_are_bounded(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer that runs for months does not grow."""
    monkeypatch.setattr(correlation, "_MAX_REMEMBERED", 5)
    own = queue.sibling(correlation_id=True)
    for number in range(20):
        own.send(membership=Membership(id=str(number), index=0))
    assert len(own.telemetry._correlation._ids) <= 5


def test_delivery_of_a_message_without_us_gets_an_id(queue: Queue) -> None:
    """So that what follows has one."""
    own = queue.sibling(correlation_id=True)
    operation = own.start({})
    inner = own.send()
    own.telemetry.end_process(operation, Ending(outcome=Outcome.SUCCESS))
    sent, processed = own.spans()
    assert sent.attributes[IDENTITY] == processed.attributes[IDENTITY]
    assert inner["baggage"] == f"correlation_id={sent.attributes[IDENTITY]}"


def test_reference_to_a_delivery_hands_on_the_same(queue: Queue) -> None:
    """What Celery's main process sends about a task that was killed."""
    own = queue.sibling(correlation="tenant_id=tenant", correlation_baggage=True)
    carrier = own.send(arguments=given("acme"))
    from otel_queue_plugins.core.messages import Delivery
    from tests.core.conftest import ROUTE

    operation = own.telemetry.reference_process(Delivery(route=ROUTE, id="m1"), carrier)
    with operation.inside():
        assert own.send()["baggage"] == "tenant_id=acme"


def test_missing_propagator_is_a_warning(
    queue: Queue, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without baggage nothing is handed on; the values themselves need none."""
    alone = CompositePropagator([TraceContextTextMapPropagator()])
    monkeypatch.setattr(propagate, "get_global_textmap", lambda: alone)
    with caplog.at_level(logging.WARNING):
        queue.sibling(correlation="a=tenant")
        assert not caplog.records
        queue.sibling(correlation_id=True)
    assert "OTEL_PROPAGATORS has no baggage" in caplog.text


def test_log_records_of_a_task_have_values_and_id(queue: Queue, exported: Exported) -> None:
    """Those that are exported; a caller's own `correlation_id` stays."""
    own = queue.sibling(correlation="tenant_id=tenant", correlation_id=True)
    operation = own.start({}, arguments=given("acme"))
    logging.getLogger("shop").warning("inside")
    logging.getLogger("shop").warning("own", extra={"correlation_id": "mine"})
    own.telemetry.end_process(operation, Ending(outcome=Outcome.SUCCESS))
    logging.getLogger("shop").warning("outside")
    inside, mine, outside = exported.records()
    (span,) = own.spans()
    assert inside.attributes[KEY] == "acme"
    assert inside.attributes[IDENTITY] == span.attributes[IDENTITY]
    assert "correlation_id" not in inside.attributes
    assert mine.attributes["correlation_id"] == "mine"
    assert not [name for name in outside.attributes if "correlation" in name]


def test_nothing_is_asked_for_while_it_is_off(queue: Queue) -> None:
    """Adapters need not look for arguments then."""
    assert not queue.telemetry.wants_arguments
    assert queue.telemetry._correlation is None
    queue.process(queue.send(arguments=given("acme")), arguments=given("acme"))
    assert not [name for span in queue.spans() for name in span.attributes if "correl" in name]
