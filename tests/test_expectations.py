"""The assertions of the tests fail for missing, surplus and wrong telemetry."""

from __future__ import annotations

from dataclasses import replace

import pytest

from otel_queue_plugins.cli.received import (
    ReceivedHistogram,
    ReceivedLink,
    ReceivedPoint,
    ReceivedSpan,
)
from tests.expectations import Expectations

SPAN = ReceivedSpan(
    service="worker",
    resource={},
    scope_name="",
    scope_version="",
    schema_url="",
    trace_id="a" * 32,
    span_id="1" * 16,
    parent_id="",
    trace_state="",
    name="process add",
    kind="consumer",
    start_ns=1,
    end_ns=2,
    status="unset",
    status_description="",
    attributes={"taskqueue.task.attempt": 1},
    events=(),
    links=(),
)
POINT = ReceivedPoint(
    service="worker",
    resource={"service.instance.id": "1"},
    scope_name="",
    schema_url="",
    name="done",
    unit="",
    description="",
    kind="sum",
    monotonic=True,
    temporality="cumulative",
    attributes={"queue.name": "q"},
    value=1,
    histogram=None,
    start_ns=1,
    time_ns=2,
    exemplars=(),
)


class Filled(Expectations):
    """A store with given points and spans."""

    def __init__(self, *received: ReceivedSpan | ReceivedPoint) -> None:
        super().__init__()
        for each in received:
            self._spans.extend([each] if isinstance(each, ReceivedSpan) else [])
            self._points.extend([each] if isinstance(each, ReceivedPoint) else [])


def test_trace_returns_its_spans_by_start_time() -> None:
    """The order of arrival does not matter."""
    later, other = replace(SPAN, start_ns=9, span_id="2" * 16), replace(SPAN, trace_id="b" * 32)
    assert Filled(later, SPAN, other).expect_trace("a" * 32, 2, settle=0) == [SPAN, later]


def test_expect_trace_with_another_count_fails_with_all_spans() -> None:
    """The text of the failure lists what arrived."""
    with pytest.raises(AssertionError, match=r"no 2 spans after .*\n.*process add"):
        Filled(SPAN).expect_trace("a" * 32, 2, timeout=0)
    with pytest.raises(AssertionError, match=r"expected 1 spans, got:\n.*process add"):
        Filled(SPAN, replace(SPAN, span_id="2" * 16)).expect_trace("a" * 32, 1, settle=0)
    with pytest.raises(AssertionError, match="nothing"):
        Filled().expect_trace("a" * 32, 1, timeout=0)


def test_expect_span_finds_one_span_by_name_trace_and_attributes() -> None:
    """Two spans that match fail as none does."""
    other = replace(SPAN, trace_id="b" * 32)
    assert Filled(SPAN, other).expect_span("process add", trace_id="b" * 32) == other
    assert Filled(SPAN).expect_span("process add", taskqueue__task__attempt=1) == SPAN
    with pytest.raises(AssertionError, match="no a span"):
        Filled(SPAN).expect_span("process add", timeout=0, taskqueue__task__attempt=2)
    with pytest.raises(AssertionError, match="more than one"):
        Filled(SPAN, other).expect_span("process add")


def test_linked_to_returns_spans_of_other_traces() -> None:
    """Spans of a new trace with a link into this one."""
    link = ReceivedLink(trace_id="a" * 32, span_id="1" * 16, attributes={})
    linked = replace(SPAN, trace_id="b" * 32, links=(link,))
    assert Filled(SPAN, replace(SPAN, links=(link,)), linked).linked_to("a" * 32) == [linked]


def test_total_sums_the_last_point_of_each_process() -> None:
    """Cumulative points of one series replace each other; those of two processes are summed."""
    again = replace(POINT, value=3)
    other_process = replace(POINT, resource={"service.instance.id": "2"}, value=4)
    store = Filled(POINT, again, other_process, replace(POINT, name="other"))
    store.expect_total("done", 7, queue__name="q")
    assert store.total("done", queue__name="p") == 0
    with pytest.raises(AssertionError, match=r"done \{\} is 7, not 6"):
        store.expect_total("done", 6)
    with pytest.raises(AssertionError, match=r"done \{\} is 7, not 8"):
        store.expect_total("done", 8, timeout=0)


def test_total_of_histogram_is_its_count() -> None:
    """How many values were recorded, not their sum."""
    taken = ReceivedHistogram(count=5, sum=0.1, bounds=(), bucket_counts=())
    assert Filled(replace(POINT, value=None, histogram=taken)).total("done") == 5
