"""What leaves the process is what OpenTelemetry's variables ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from otel_queue_plugins.cli.received import ReceivedPoint, ReceivedSpan
    from tests.receiver import FaultyReceiver
    from tests.sdk.conftest import Programs

pytestmark = pytest.mark.slow


def rich_span(programs: Programs, receiver: FaultyReceiver, **environ: str) -> ReceivedSpan:
    """The span of `rich_script`, recorded with these variables."""
    assert programs.start("rich_script", endpoint=receiver.endpoint, **environ).wait() == 0
    return receiver.expect_span("rich", timeout=30)


def test_span_limits_of_the_environment_are_applied(
    programs: Programs, http_receiver: FaultyReceiver
) -> None:
    """The numbers of attributes, events and links, and the length of a value."""
    span = rich_span(
        programs,
        http_receiver,
        OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="2",
        OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT="4",
        OTEL_SPAN_EVENT_COUNT_LIMIT="1",
        OTEL_SPAN_LINK_COUNT_LIMIT="2",
        OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT="1",
    )
    assert len(span.attributes) == 2
    assert max(len(str(value)) for value in span.attributes.values()) <= 4
    assert (len(span.events), len(span.links)) == (1, 2)
    assert all(len(event.attributes) <= 1 for event in span.events)


def test_span_without_limits_is_complete(programs: Programs, http_receiver: FaultyReceiver) -> None:
    """This package adds no limits."""
    span = rich_span(programs, http_receiver)
    assert dict(span.attributes) == {"a": "abcdef", "b": 2, "c": 3}
    assert (len(span.events), len(span.links)) == (2, 3)
    assert dict(span.events[0].attributes) == {"a": 1, "b": 2}


@pytest.mark.parametrize("sampler", ["traceidratio", "parentbased_traceidratio"])
@pytest.mark.parametrize(("ratio", "spans"), [("0", 0), ("1", 2), ("", 2)])
def test_sampling_ratio_of_the_environment_is_used(
    programs: Programs, http_receiver: FaultyReceiver, sampler: str, ratio: str, spans: int
) -> None:
    """From 0 to 1; the default is 1."""
    environ = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": ratio}
    program = programs.start("rich_script", endpoint=http_receiver.endpoint, **environ)
    assert program.wait() == 0
    http_receiver.expect_total("work", 1, timeout=30)
    assert len(http_receiver.spans()) == spans


@pytest.mark.parametrize(
    ("preference", "kind"),
    [
        ("", "histogram"),
        ("explicit_bucket_histogram", "histogram"),
        ("Base2_Exponential_Bucket_Histogram", "exponential_histogram"),
    ],
)
def test_histogram_aggregation_of_the_environment_is_used(
    programs: Programs, http_receiver: FaultyReceiver, preference: str, kind: str
) -> None:
    """The default is explicit buckets."""
    point = point_of_histogram(
        programs,
        http_receiver,
        OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=preference,
    )
    assert point.kind == kind


@pytest.mark.parametrize(
    ("preference", "environ", "count"),
    [
        ("", {}, 1),
        ("Always_Off", {}, 0),
        ("trace_based", {"OTEL_TRACES_SAMPLER": "always_off"}, 0),
        ("ALWAYS_ON", {"OTEL_TRACES_SAMPLER": "always_off"}, 1),
    ],
)
def test_exemplar_filter_of_the_environment_is_used(
    programs: Programs,
    http_receiver: FaultyReceiver,
    preference: str,
    environ: dict[str, str],
    count: int,
) -> None:
    """By default measurements in a sampled span have exemplars; any case is accepted."""
    point = point_of_histogram(
        programs, http_receiver, OTEL_METRICS_EXEMPLAR_FILTER=preference, **environ
    )
    assert len(point.exemplars) == count


def point_of_histogram(
    programs: Programs, receiver: FaultyReceiver, **environ: str
) -> ReceivedPoint:
    """The one histogram of `script`."""
    assert programs.start("script", endpoint=receiver.endpoint, **environ).wait() == 0
    receiver.expect_total("took", 1, timeout=30)
    (point,) = receiver.latest_points("took")
    return point


def test_empty_endpoint_switches_the_signal_off_in_spawned_children(
    programs: Programs, http_receiver: FaultyReceiver
) -> None:
    """Spawned children read the environment again."""
    program = programs.start(
        "family", "spawn", endpoint=http_receiver.endpoint, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=""
    )
    assert program.wait() == 0
    http_receiver.until(lambda: len(http_receiver.spans()) == 4, "four spans")
    assert http_receiver.requests("/v1/metrics") == []


def test_application_tracer_provider_is_kept_and_metrics_are_set_up(
    programs: Programs, http_receiver: FaultyReceiver
) -> None:
    """A vendor's tracer provider is used for traces only, before and after a fork."""
    # From 3.12 on Python warns of each fork of a process with threads.
    program = programs.start(
        "foreign_provider", endpoint=http_receiver.endpoint, PYTHONWARNINGS="ignore"
    )
    assert program.wait() == 0
    assert program.log == "asked for tests\nasked for tests\nflushed True unchanged True\n"
    http_receiver.expect_total("work", 2, timeout=30)
    assert http_receiver.requests("/v1/traces") == []
