"""What real workers send is what parts of other makers say they have received.

Both protocols, with gzip and without, through a collector and straight to Datadog's test agent. Of
a message: its send span, and a process span for each attempt, the second with a link to the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.parts import DatadogAgent, Rotel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from otel_queue_plugins.cli.received import ReceivedSpan
    from tests.brokers.harness import Lab
    from tests.expectations import Expectations
    from tests.processes import Processes

CELERY: Final = """
from celery import Celery
from otel_queue_plugins.celery import instrument
from tests.brokers.apps.settings import celery_settings

app = Celery("shop")
app.conf.update(celery_settings())
instrument(app)

@app.task(name="shop.pay", bind=True, max_retries=1, default_retry_delay=0)
def pay(self):
    if self.request.retries == 0:
        raise self.retry(exc=OSError("no answer"))
    raise ValueError("no money")
"""
DRAMATIQ: Final = """
import dramatiq
from otel_queue_plugins.dramatiq import instrument
from tests.brokers.apps.settings import QUEUE, dramatiq_broker

instrument(dramatiq_broker())
soon = {"max_retries": 1, "min_backoff": 1, "max_backoff": 1}

@dramatiq.actor(queue_name=QUEUE, actor_name="shop.pay", **soon)
def pay():
    raise ValueError("no money")
"""
HTTP, GRPC = "http/protobuf", "grpc"
CONSUMED: Final = "messaging.client.consumed.messages"
DURATION: Final = "messaging.process.duration"
PROFILE: Final = {
    "OTEL_QUEUE_PROFILE": "datadog",
    "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=prod,service.version=1.2.3",
}

pytestmark = pytest.mark.parametrize("own_broker", ["redis"], indirect=True)


@pytest.fixture
def agent(processes: Processes) -> DatadogAgent:
    """One session of Datadog's test agent."""
    return DatadogAgent.start(processes)


def story(agent: DatadogAgent, trace_id: str, framework: str) -> Expectations:
    """Wait for the spans of one message that fails twice, and look at all that says who it is."""
    received = agent.until(
        lambda it: len(it.trace(trace_id)) >= 3 and count(it, CONSUMED) >= 2 <= count(it, DURATION)
    )
    send, first, second = received.trace(trace_id)
    names = ["send shop.pay", "process shop.pay", "process shop.pay"]
    assert [each.name for each in (send, first, second)] == names
    assert [each.service for each in (send, first, second)] == ["web", "worker", "worker"]
    assert [each.kind for each in (send, first, second)] == ["producer", "consumer", "consumer"]
    assert {first.parent_id, second.parent_id} == {send.span_id}
    assert first.links == ()
    assert [(each.trace_id, each.span_id) for each in second.links] == [(trace_id, first.span_id)]
    assert [named(each) for each in (send, first)] == [
        (f"{framework}.send", "shop.pay", "worker"),
        (f"{framework}.process", "shop.pay", "worker"),
    ]
    for each in (send, first, second):
        assert each.resource["deployment.environment.name"] == "prod"
        assert each.resource["service.version"] == "1.2.3"
    assert (first.status, second.status) == ("unset", "error")
    assert second.attributes["error.type"] == "ValueError"
    assert [each.name for each in second.events][-1] == "exception"
    numbers(received, {first.span_id, second.span_id})
    return received


def edges(spans: Sequence[ReceivedSpan]) -> list[tuple[str, str]]:
    """Services between which a map draws an edge for messages: parent and child, by their kinds."""
    sends = {each.span_id: each for each in spans if each.kind == "producer"}
    received = [each for each in spans if each.kind == "consumer" and each.parent_id in sends]
    return [(sends[each.parent_id].service, each.service) for each in received]


def named(span: ReceivedSpan) -> tuple[object, ...]:
    """What Datadog shows a span by."""
    return tuple(span.attributes[each] for each in ("operation.name", "resource.name", "span.type"))


def count(received: Expectations, metric: str) -> float:
    """The sum of a metric that is sent as differences."""
    points = [each for each in received.points() if each.name == metric]
    return sum(each.histogram.count if each.histogram else each.value or 0 for each in points)


def numbers(received: Expectations, spans: set[str]) -> None:
    """Datadog takes differences alone; an exemplar names the span it was measured in."""
    assert count(received, CONSUMED) == count(received, DURATION) == 2
    kinds = {(each.kind, each.temporality) for each in received.points()}
    assert kinds == {("sum", "delta"), ("histogram", "delta"), ("gauge", "")}
    (unit,) = {each.unit for each in received.points() if each.name == DURATION}
    assert unit == "s"
    exemplars = [
        exemplar.span_id
        for each in received.points()
        if each.name == DURATION
        for exemplar in each.exemplars
    ]
    assert exemplars
    assert set(exemplars) <= spans


def test_celery_through_a_collector(
    own_lab: Lab, processes: Processes, tmp_path: Path, agent: DatadogAgent
) -> None:
    """It takes both protocols, with gzip and without, and hands the same on to the agent."""
    rotel = Rotel.start(processes, tmp_path, agent)
    way = rotel.ports.way
    app = own_lab.app(CELERY)
    producer = own_lab.producer(
        app, env={**PROFILE, **way("traces", HTTP, "gzip"), **way("metrics", GRPC, "none")}
    )
    own_lab.celery(
        app, env={**PROFILE, **way("traces", GRPC, "gzip"), **way("metrics", HTTP, "none")}
    )
    sent = producer.run("pay.delay()")
    story(agent, sent.trace_id, "celery")
    assert rotel.spans() >= {
        ("web", "send shop.pay", "SPAN_KIND_PRODUCER", "shop.pay"),
        ("worker", "process shop.pay", "SPAN_KIND_CONSUMER", "shop.pay"),
    }
    temporalities = rotel.temporalities()
    assert set(temporalities.values()) == {"AGGREGATION_TEMPORALITY_DELTA"}
    assert {CONSUMED, DURATION, "messaging.client.sent.messages"} <= set(temporalities)


def test_dramatiq_to_the_agent(own_lab: Lab, agent: DatadogAgent) -> None:
    """Both protocols, with gzip and without, and the headers that are asked for."""
    own_lab.environment = {
        **PROFILE,
        "OTEL_EXPORTER_OTLP_HEADERS": f"{agent.header},dd-api-key=a%20key,compute_stats=true",
    }
    way = agent.ports.way
    app = own_lab.app(DRAMATIQ)
    producer = own_lab.producer(
        app, env={**way("traces", GRPC, "none"), **way("metrics", HTTP, "gzip")}
    )
    own_lab.dramatiq(app, env={**way("traces", HTTP, "gzip"), **way("metrics", GRPC, "gzip")})
    sent = producer.run("pay.send()")
    assert edges(story(agent, sent.trace_id, "dramatiq").spans()) == [("web", "worker")] * 2
    linked = producer.run("pay.send_with_options(otel_relation='link')")
    received = agent.until(lambda it: len(it.linked_to(linked.trace_id)) >= 2)
    (send,) = received.trace(linked.trace_id)
    processed = received.linked_to(linked.trace_id)
    assert edges([send, *processed]) == []
    assert {each.parent_id for each in processed} == {""}
    assert {each.links[0].span_id for each in processed} == {send.span_id}
    for path in ("/v1/traces", "/v1/metrics"):
        ours = [each for each in agent.headers(path) if "dd-api-key" in each]
        assert ours
        for each in ours:
            assert each["dd-api-key"] == "a key"
            assert each["compute_stats"] == "true"
            assert each["content-encoding"] == "gzip"
            assert each["content-type"] == "application/x-protobuf"
