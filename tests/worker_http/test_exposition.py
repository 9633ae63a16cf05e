"""The metrics of several processes as one page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from otel_queue_plugins.worker_http import exposition
from otel_queue_plugins.worker_http.exemplars import Exemplars
from otel_queue_plugins.worker_http.series import WorkerMetrics, add_up


def measured(record: Callable[[Meter], object], instance: str = "a") -> bytes:
    """What one process has measured."""
    reader = InMemoryMetricReader()
    resource = Resource({"service.name": "shop", "service.instance.id": instance})
    provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    record(provider.get_meter("shop", "1.0", attributes={"team.name": "x"}))
    data = reader.get_metrics_data()
    provider.shutdown()
    assert data is not None
    return bytes(encode_metrics(data).SerializeToString())


def page(*requests: bytes) -> dict[str, Any]:
    """The families of the page, by name, as the parser of prometheus_client reads it."""
    whole = add_up(enumerate(requests, 1))
    Exemplars().complete(whole)
    text, content_type = exposition.write(whole, "")
    assert content_type.startswith("application/openmetrics-text")
    return {each.name: each for each in text_string_to_metric_families(text.decode())}


def test_counters_and_histograms_of_processes_are_added() -> None:
    """Each series is one, whichever process measured it."""

    def record(meter: Meter) -> None:
        meter.create_counter("jobs", "{job}", "Jobs").add(2, {"kind": "a", "ok": True})
        histogram = meter.create_histogram(
            "took", "s", explicit_bucket_boundaries_advisory=[1.0, 5.0]
        )
        histogram.record(0.5)
        histogram.record(7)

    found = page(measured(record), measured(record))
    (sample,) = found["jobs"].samples
    assert (sample.name, sample.value) == ("jobs_total", 4)
    assert sample.labels == {
        "kind": "a",
        "ok": "true",
        "otel_scope_name": "shop",
        "otel_scope_version": "1.0",
        "otel_scope_team_name": "x",
    }
    assert found["took_seconds"].unit == "seconds"
    values = {
        (each.name, each.labels.get("le")): each.value for each in found["took_seconds"].samples
    }
    assert values == {
        ("took_seconds_bucket", "1.0"): 2,
        ("took_seconds_bucket", "5.0"): 2,
        ("took_seconds_bucket", "+Inf"): 4,
        ("took_seconds_count", None): 4,
        ("took_seconds_sum", None): 15,
    }


def test_gauges_of_processes_are_added_only_where_that_has_a_meaning() -> None:
    """Of others each process has its own series; of the longest run the longest counts."""

    def record(number: int) -> Callable[[Meter], None]:
        def observe(meter: Meter) -> None:
            for name in ("taskqueue.worker.capacity", "taskqueue.worker.longest_running", "temp"):
                meter.create_observable_gauge(name, [observation])

        def observation(_: CallbackOptions) -> list[Observation]:
            return [Observation(number)]

        return observe

    found = page(measured(record(2)), measured(record(3)))
    assert [each.value for each in found["taskqueue_worker_capacity"].samples] == [5]
    assert [each.value for each in found["taskqueue_worker_longest_running"].samples] == [3]
    temperatures = found["temp"].samples
    assert {each.labels["process_pid"]: each.value for each in temperatures} == {"1": 2, "2": 3}


def test_target_info_has_what_the_processes_have_in_common() -> None:
    """One target has one resource."""
    requests = [measured(lambda meter: meter.create_counter("x").add(1), name) for name in "ab"]
    assert page(*requests)["target"].samples[0].labels == {"service_name": "shop"}
    assert "service_instance_id" in page(requests[0])["target"].samples[0].labels


def test_second_metric_of_a_name_with_another_type_is_left_out() -> None:
    """A page that Prometheus refuses would cost all others."""

    def record(meter: Meter) -> None:
        meter.create_counter("a.b").add(1)
        meter.create_gauge("a-b").set(5)

    assert page(measured(record))["a_b"].type == "counter"


def test_exemplars_are_kept_over_collections() -> None:
    """The SDK gives each of them once; the newest with a span stays for its bucket."""
    reader, kept = InMemoryMetricReader(), Exemplars()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    histogram = provider.get_meter("shop").create_histogram("took", "s")
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("shop")

    def collected() -> WorkerMetrics:
        data = reader.get_metrics_data()
        assert data is not None
        whole = add_up([(1, bytes(encode_metrics(data).SerializeToString()))])
        kept.complete(whole)
        return whole

    with tracer.start_as_current_span("task") as span:
        histogram.record(3)
    collected()
    histogram.record(3)
    text = exposition.write(collected(), "")[0].decode()
    trace_id = f"{span.get_span_context().trace_id:032x}"
    (line,) = [each for each in text.splitlines() if " # {" in each]
    assert f'trace_id="{trace_id}"' in line
    assert 'le="5.0"' in line
    provider.shutdown()


def test_what_is_of_the_service_is_of_no_process() -> None:
    """Its resource has no instance: the worker keeps its own, and the series names no process."""
    reader = InMemoryMetricReader()
    service = MeterProvider(
        [reader], resource=Resource({"service.name": "shop"}), shutdown_on_exit=False
    )
    service.get_meter("shop").create_gauge("depth").set(3)
    data = reader.get_metrics_data()
    assert data is not None
    own = measured(lambda meter: meter.create_gauge("own").set(1))
    other = measured(lambda meter: meter.create_gauge("own").set(1))
    found = page(own + encode_metrics(data).SerializeToString(), other)
    (depth,) = found["depth"].samples
    assert not [name for name in depth.labels if "pid" in name]
    assert len({tuple(each.labels.items()) for each in found["own"].samples}) == 2
    (target,) = found["target"].samples
    assert target.labels["service_instance_id"] == "a"
    service.shutdown()


@pytest.mark.parametrize("accept", ["text/plain", "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"])
def test_older_text_format_is_written_for_who_asks_for_it(accept: str) -> None:
    """It has no exemplars and no end mark."""
    whole = add_up([(1, measured(lambda meter: meter.create_counter("x").add(1)))])
    text, content_type = exposition.write(whole, accept)
    assert content_type.startswith("text/plain")
    assert b"# EOF" not in text


def test_empty_worker_is_an_empty_page() -> None:
    """Which is valid, too."""
    assert page() == {}
