"""Whatever a message carries, its task runs, under a valid span of its own."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import celery
import pytest
from celery import signals
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.celery.conftest import Telemetry, memory_app, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

VALID = f"00-{7:032x}-{8:016x}-01"
KEYS = ("traceparent", "tracestate", "baggage", "otq", "headers", "celery_beat_task")

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
_spoilt = st.text(alphabet="0123456789abcdef-;:,=%\x00ÿé \n", max_size=90)
_headers = st.dictionaries(st.sampled_from(KEYS), _json | _spoilt | st.just(VALID), max_size=6)


@pytest.fixture(scope="module")
def shop(module_telemetry: Telemetry) -> Iterator[Celery]:  # noqa: ARG001 - comes first
    """A worker whose messages are changed on the way."""
    app = memory_app()

    @app.task(shared=False, name="work")
    def work() -> None:
        """Runs, whatever comes with it."""

    with running(app):
        yield app


def deliver(app: Celery, telemetry: Telemetry, headers: dict[str, Any]) -> Any:
    """The process span of a message with these headers instead of ours."""
    telemetry.exporter.clear()

    def spoil(**facts: Any) -> None:
        for key in KEYS:
            facts["headers"].pop(key, None)
        facts["headers"].update(headers)

    signals.before_task_publish.connect(spoil)
    try:
        app.tasks["work"].delay()
    finally:
        signals.before_task_publish.disconnect(spoil)
    return telemetry.one("process work")


@settings(
    max_examples=120,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(headers=_headers)
def test_message_with_any_headers_is_recorded(
    shop: Celery, telemetry: Telemetry, headers: dict[str, Any]
) -> None:
    """It has one valid span, an outcome, and a wait that is possible."""
    span = deliver(shop, telemetry, headers)
    assert span.context.is_valid
    assert span.attributes["taskqueue.task.outcome"] == "success"
    assert span.attributes.get("taskqueue.task.wait", 0) >= 0
    if not isinstance(headers.get("headers"), dict) and headers.get("traceparent") == VALID:
        assert span.context.trace_id == 7
    for value in span.attributes.values():
        assert len(str(value)) <= 256


def test_message_with_impossible_eta_is_rejected(shop: Celery, telemetry: Telemetry) -> None:
    """Celery rejects a message with an ETA before the calendar; before 5.7 it runs it, too."""
    span = deliver(shop, telemetry, {"eta": "0001-01-01T00:00:00+14:00"})
    outcome = "rejected" if celery.VERSION >= (5, 7) else "success"
    assert span.attributes["taskqueue.task.outcome"] == outcome
    assert span.attributes["taskqueue.task.name"] == "work"


HOSTILE = {
    "a list": {"traceparent": [VALID], "tracestate": [], "baggage": ["a=b"], "otq": ["1"]},
    "numbers": {"traceparent": 1, "tracestate": 2.5, "baggage": True, "otq": 10**30},
    "nothing": {"traceparent": None, "tracestate": None, "baggage": None, "otq": None},
    "a megabyte of baggage": {"traceparent": VALID, "baggage": "x" * 2**20},
    "a thousand members": {"baggage": ",".join(f"key{n}=value" for n in range(1000))},
    "long bad members": {"baggage": ",".join(["broken " * 300] * 3)},
    "NUL bytes": {"traceparent": VALID + "\0", "baggage": "a=\0", "otq": "\0", "tracestate": "\0"},
    "surrogates": {"traceparent": "\ud800", "baggage": "a=\udc80", "otq": "\udfff"},
    "nested headers": {"headers": {"headers": {"headers": {"traceparent": VALID}}}},
    "headers that are a list": {"headers": ["traceparent", VALID]},
    "a megabyte of traceparent": {"traceparent": "0" * 2**20},
    "a forged envelope": {"otq": "f" * 15 + ";rchild;e;f;pzz;tq;w::;j:;" + "x" * 400},
    "an envelope of the future": {"otq": "fffffffffffffff;zunknown;e7fffffffffffff"},
    "all zeros": {"traceparent": f"00-{0:032x}-{0:016x}-00", "otq": "0"},
    "endless groups": {"group": "g" * 2**20, "group_index": 2**80, "root_id": "r" * 2**20},
    "odd facts": {"group": [1], "group_index": "x", "root_id": {"a": 1}},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_task_with_mistreated_headers_is_recorded(
    shop: Celery, telemetry: Telemetry, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """The task runs in a span that any exporter can encode; its log stays readable."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    with (
        caplog.at_level(logging.DEBUG, logger="otel_queue_plugins"),
        caplog.at_level(logging.WARNING),
    ):
        span = deliver(shop, telemetry, HOSTILE[kind])
    assert span.attributes["taskqueue.task.outcome"] == "success"
    assert len(encode_spans([span]).SerializeToString()) < 8192
    assert max((len(record.getMessage()) for record in caplog.records), default=0) < 1024
