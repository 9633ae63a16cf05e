"""The telemetry contract, written once, over every kind of queue."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from tests.contract.drivers import DRIVERS, TASK, CeleryQueue
from tests.points import points_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

if importlib.util.find_spec("rq"):
    from tests.contract.rq_driver import RQQueue

    RQ: Any = RQQueue
else:
    RQ = pytest.param(None, marks=pytest.mark.skip(reason="rq is not installed"), id="rq")

OUTCOME = "taskqueue.task.outcome"


class Lab:
    """One queue, and what it has exported."""

    def __init__(self, kind: Any, exporter: Any, reader: Any, providers: dict[str, Any]) -> None:
        self.kind, self.exporter, self.reader, self.providers = kind, exporter, reader, providers
        self.driver: Any = None

    def start(self, **options: Any) -> Any:
        self.driver = self.kind(**self.providers, **options)
        return self.driver

    def spans(self, kind: SpanKind) -> list[Any]:
        found = [span for span in self.exporter.get_finished_spans() if span.kind is kind]
        return sorted(found, key=lambda span: span.start_time)

    def run(self, *plan: str, relation: str | None = None) -> tuple[Any, list[Any]]:
        """The send span of a message, and the process spans of its attempts."""
        if missing := set(plan) - self.driver.words:
            pytest.skip(f"{self.driver.name} knows no {missing}")
        self.driver.send(*plan, relation=relation)
        return self.work(len(plan))

    def work(self, attempts: int) -> tuple[Any, list[Any]]:
        self.driver.work(lambda: len(self.spans(SpanKind.CONSUMER)) >= attempts)
        (send,) = self.spans(SpanKind.PRODUCER)
        processes = self.spans(SpanKind.CONSUMER)
        assert len(processes) == attempts
        return send, processes

    def points(self, metric: str) -> list[Any]:
        return points_of(self.reader, metric)


# A worker of Celery takes seconds to stop.
KINDS = [
    pytest.param(each, marks=pytest.mark.slow) if each is CeleryQueue else each for each in DRIVERS
]


@pytest.fixture(params=[*KINDS, RQ], ids=lambda kind: kind.name)
def lab(
    request: Any, tracer_provider: Any, meter_provider: Any, span_exporter: Any, metric_reader: Any
) -> Iterator[Lab]:
    """One for each kind of queue."""
    providers = {"tracer_provider": tracer_provider, "meter_provider": meter_provider}
    found = Lab(request.param, span_exporter, metric_reader, providers)
    yield found
    if found.driver is not None:
        found.driver.close()


def test_send_and_process_are_one_trace(lab: Lab) -> None:
    """Names, kinds, parent and attributes are those of the contract."""
    driver = lab.start()
    identity = driver.send("ok")
    send, (process,) = lab.work(1)
    task = getattr(driver, "task", TASK) if driver.name == "rq" else TASK
    assert (send.name, process.name) == (f"send {task}", f"process {task}")
    assert process.parent.span_id == send.context.span_id
    assert process.context.trace_id == send.context.trace_id
    assert not process.links
    for span, operation in ((send, "send"), (process, "process")):
        found = dict(span.attributes)
        assert found["messaging.operation.name"] == operation
        assert found["messaging.system"] == driver.system
        assert found["messaging.message.id"] == identity
        assert found["messaging.destination.name"]
        assert found["taskqueue.framework"] == driver.name
        assert found["taskqueue.task.name"] == task
    assert process.attributes["taskqueue.task.attempt"] == 1
    assert process.attributes["taskqueue.task.wait"] >= 0
    assert process.attributes["process.pid"]


@pytest.mark.parametrize(
    ("word", "outcome", "status"),
    [
        ("ok", "success", StatusCode.UNSET),
        ("fail", "failure", StatusCode.ERROR),
        ("dead", "dead_letter", StatusCode.ERROR),
        ("skip", "skipped", StatusCode.UNSET),
    ],
)
def test_outcome(lab: Lab, word: str, outcome: str, status: StatusCode) -> None:
    """Every delivery has one, and its status and its count follow from it."""
    if lab.kind.name == "dramatiq" and word == "fail":
        outcome = "dead_letter"  # what fails for good goes to its dead-letter queue
    lab.start()
    _, (process,) = lab.run(word)
    assert process.attributes[OUTCOME] == outcome
    assert process.status.status_code is status
    if status is StatusCode.ERROR:
        assert process.attributes["error.type"] == "tests.contract.drivers.WrongImageError"
        assert process.attributes["exception.message"] == word
    (consumed,) = lab.points("messaging.client.consumed.messages")
    assert consumed.value == 1
    assert consumed.attributes[OUTCOME] == outcome


def test_expected_exception_is_no_error(lab: Lab) -> None:
    """It is a failure, with the status unset."""
    lab.start()
    _, (process,) = lab.run("expected")
    assert process.attributes[OUTCOME] in {"failure", "dead_letter"}
    assert process.status.status_code is StatusCode.UNSET


def test_retry_keeps_the_trace_and_links_to_the_attempt_before(lab: Lab) -> None:
    """There is no second send span."""
    lab.start()
    send, (first, second) = lab.run("retry", "ok")
    assert [first.attributes[OUTCOME], second.attributes[OUTCOME]] == ["retry", "success"]
    assert first.status.status_code is StatusCode.UNSET
    assert first.attributes["taskqueue.retry.delay"] >= 0
    assert "taskqueue.retry" in [event.name for event in first.events]
    assert second.attributes["taskqueue.task.attempt"] == 2
    assert {first.parent.span_id, second.parent.span_id} == {send.context.span_id}
    assert [link.context.span_id for link in second.links] == [first.context.span_id]
    (retries,) = lab.points("taskqueue.task.retries")
    assert retries.value == 1


@pytest.mark.parametrize("relation", ["link", "none"])
def test_relation(lab: Lab, relation: str) -> None:
    """A new trace, with a link to the send or without."""
    lab.start(relation=relation)
    send, (process,) = lab.run("ok")
    assert process.parent is None
    assert process.context.trace_id != send.context.trace_id
    linked = [link.context.span_id for link in process.links]
    assert linked == ([send.context.span_id] if relation == "link" else [])


@pytest.mark.parametrize(
    "make",
    [
        lambda: {"traceparent": "00-nothing", "tracestate": "=" * 5000},
        lambda: {"traceparent": 7, "baggage": ["a"]},
        lambda: {"traceparent": None},
    ],
)
def test_bad_headers_give_a_trace_of_its_own(lab: Lab, make: Callable[[], Any]) -> None:
    """The task runs, and its span is a root."""
    lab.start().send("ok")
    lab.driver.spoil(make())
    _, (process,) = lab.work(1)
    assert process.parent is None
    assert process.attributes[OUTCOME] == "success"


def test_metrics(lab: Lab) -> None:
    """The default instruments, with the attributes of the contract and no others."""
    lab.start()
    lab.run("ok")
    common = {"messaging.system", "messaging.destination.name", "taskqueue.task.name"}
    for metric, more in {
        "messaging.client.sent.messages": {"messaging.operation.name"},
        "messaging.client.consumed.messages": {"messaging.operation.name", OUTCOME},
        "messaging.process.duration": {"messaging.operation.name", OUTCOME},
        "taskqueue.task.wait": set(),
    }.items():
        (point,) = lab.points(metric)
        assert set(point.attributes) == common | more, metric
