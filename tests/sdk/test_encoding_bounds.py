"""The encoder's caches are bounded, and correct in all threads and forked children."""

from __future__ import annotations

import gc
import os
import random
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext

from otel_queue_plugins.sdk.fastpath import encoding
from otel_queue_plugins.sdk.fastpath.encoding import caching
from otel_queue_plugins.sdk.fastpath.encoding.attributes import AttributeEncoder
from otel_queue_plugins.sdk.fastpath.encoding.caching import Budget
from otel_queue_plugins.sdk.fastpath.encoding.encoder import Encoder
from otel_queue_plugins.sdk.fastpath.encoding.otlp_spans import SpanEncoder

RESOURCE = Resource({"service.name": "shop"})
SCOPE = InstrumentationScope("shop", "1")
IDS = count(1)


def span(
    attributes: dict[str, Any],
    name: str = "pay",
    resource: Resource = RESOURCE,
    scope: InstrumentationScope = SCOPE,
) -> ReadableSpan:
    """A span that differs from others by its id only."""
    return ReadableSpan(
        name,
        SpanContext(1, next(IDS), is_remote=False),
        resource=resource,
        attributes=attributes,
        start_time=1,
        end_time=2,
        instrumentation_scope=scope,
    )


class Small:
    """An encoder with a small budget."""

    def __init__(self, most: int) -> None:
        usual = encoding.span_encoder()
        assert usual is not None
        self.budget = Budget(most)
        self.attributes = AttributeEncoder(self.budget)
        spans = SpanEncoder(self.attributes, self.budget)
        signal = usual.signal._replace(encode=spans.encode)
        self.encoder = Encoder(signal, encode_spans)

    def is_right(self, batch: list[ReadableSpan]) -> bool:
        """Whether `batch` is encoded as by the official encoder."""
        request = ExportTraceServiceRequest.FromString(self.encoder.request(batch))
        return bool(request == encode_spans(batch))


def varied(seed: int, spans: int) -> list[ReadableSpan]:
    """Keys, values and types that repeat, in different orders."""
    draw = random.Random(seed)
    values = ["a", "b" * 300, 1, True, 1.0, -5, None, ["a", 1], {"a": 1.5}, "\u00e9"]
    return [
        span(
            {f"key{draw.randrange(20)}": draw.choice([*values, draw.random(), str(draw.random())])},
            name=f"name{draw.randrange(5)}",
        )
        for _ in range(spans)
    ]


def test_encoder_memory_stays_within_the_budget() -> None:
    """Any number of ids, keys, names, resources and scopes takes at most two MiB."""
    small = Small(caching.MOST_BYTES)
    assert small.is_right(varied(0, 10))
    tracemalloc.start()
    try:
        for number in range(10_000):
            attributes = {
                "id": f"id{number}",
                f"key{number}": number,
                "text": "x" * (number % 2000),
            }
            resource = Resource({"n": number}) if number % 10 == 0 else RESOURCE
            scope = InstrumentationScope(f"scope{number}") if number % 10 == 0 else SCOPE
            small.encoder.request([span(attributes, f"name{number}", resource, scope)])
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 2 << 20
    assert small.is_right(varied(1, 50))


def test_cache_of_a_key_with_ids_keeps_nothing() -> None:
    """Other keys keep their values: ids do not use up the budget."""
    small = Small(caching.MOST_BYTES)
    small.encoder.request([span({"queue": "shop"})])
    used = small.budget.used
    small.encoder.request([span({"id": f"{number:036}"}) for number in range(5_000)])
    assert small.budget.used < used + 64 * 1024
    keys: Any = small.attributes._keys
    assert len(keys["id"][str]) == 0
    assert list(keys["queue"][str]) == ["shop"]


@pytest.mark.parametrize("most", [0, 500, 5_000])
def test_emptied_cache_encodes_the_same(most: int) -> None:
    """Also if it is emptied in the middle of a span."""
    small = Small(most)
    for seed in range(20):
        assert small.is_right(varied(seed, 20))


def test_encoder_in_many_threads_encodes_the_same() -> None:
    """Also while all threads fill and empty the same caches."""
    small = Small(3_000)
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lambda seed: small.is_right(varied(seed, 20)), range(200)))
    finally:
        sys.setswitchinterval(switching)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_encoder_in_a_forked_child_encodes_the_same() -> None:
    """The child uses the caches of its parent, and adds to them."""
    small = Small(10_000)
    assert small.is_right(varied(1, 50))
    child = os.fork()
    if child == 0:
        os._exit(not (small.is_right(varied(1, 50)) and small.is_right(varied(2, 50))))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert small.is_right(varied(3, 50))


def test_resources_and_scopes_beyond_the_bound_are_released() -> None:
    """An application may make a tracer for each request."""
    small = Small(caching.MOST_BYTES)
    scopes = [InstrumentationScope(f"scope{number}") for number in range(1_000)]
    assert small.is_right([span({}, scope=scope) for scope in scopes])
    held = sum(len(gc.get_referrers(scope)) for scope in scopes[:3])
    assert small.is_right([span({})])
    assert sum(len(gc.get_referrers(scope)) for scope in scopes[:3]) < held


def test_large_resources_are_kept_within_a_bound_of_bytes() -> None:
    """A resource may have any number of attributes of any length."""
    small = Small(caching.MOST_BYTES)
    for number in range(20):
        assert small.is_right([span({}, resource=Resource({"n": number, "text": "x" * 50_000}))])
    assert len(small.encoder._origins._seen) <= 3
