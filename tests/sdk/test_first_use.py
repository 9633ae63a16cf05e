"""Telemetry that an application records before the set-up is exported."""

from __future__ import annotations

import subprocess
import sys
from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from tests.environment import clean_environment

if TYPE_CHECKING:
    from tests.receiver import FaultyReceiver
    from tests.sdk.conftest import Programs

LOGS = {"OTEL_LOGS_EXPORTER": "otlp"}
SIGNALS = ("traces", "metrics", "logs")


@pytest.mark.parametrize("order", list(permutations(SIGNALS)), ids="-".join)
def test_proxies_got_before_set_up_record_from_the_first_use(
    moments: Programs, http_receiver: FaultyReceiver, order: tuple[str, ...]
) -> None:
    """Tracers, instruments and loggers of the API, whichever is used first."""
    program = moments.start("early", *order, endpoint=http_receiver.endpoint, **LOGS)
    assert program.wait() == 0
    assert program.log == "sdk False threads 1\n"
    http_receiver.expect_span("early", timeout=30)
    for name, value in (("active", 0), ("work", 1), ("level", 3), ("took", 1)):
        http_receiver.expect_total(name, value, timeout=30)
    [found] = http_receiver.logs()
    assert found.body == "early"


@pytest.mark.parametrize("only", [*SIGNALS, "logging"])
def test_first_use_sets_up_its_own_signal_only(
    moments: Programs, http_receiver: FaultyReceiver, only: str
) -> None:
    """A signal that nobody uses has no provider, no thread and no request."""
    program = moments.start("early", only, endpoint=http_receiver.endpoint, **LOGS)
    assert program.wait() == 0
    sent = {request.path for request in http_receiver.requests()}
    assert sent == {f"/v1/{'logs' if only == 'logging' else only}"}


def test_decorator_of_a_tracer_sets_up_nothing(
    moments: Programs, http_receiver: FaultyReceiver
) -> None:
    """`@tracer.start_as_current_span(...)` runs at the import; the span starts with the call."""
    program = moments.start("decorated", endpoint=http_receiver.endpoint)
    assert program.wait() == 0
    assert program.log == "sdk False threads 1\n"
    assert [span.name for span in http_receiver.spans()] == ["decorated"]


@pytest.mark.parametrize("count", ["one", "two"])
def test_observable_instrument_alone_is_collected(
    moments: Programs, http_receiver: FaultyReceiver, count: str
) -> None:
    """Its callbacks need a reader; in a forked child, too."""
    program = moments.start("observed", count, endpoint=http_receiver.endpoint)
    program.wait_for_log("made")
    http_receiver.expect_total("level", 4 if count == "one" else 8)
    program.stdin.close()
    assert program.wait() == 0


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", SIGNALS)
def test_application_provider_set_before_first_use_wins(
    moments: Programs, http_receiver: FaultyReceiver, when: str, what: str
) -> None:
    """In either order, without a warning of the API; the other signals come from `OTEL_*`."""
    program = moments.start("own", when, what, endpoint=http_receiver.endpoint, **LOGS)
    assert program.wait() == 0
    assert program.log.splitlines() == ["WARNING:shop:a record", f"own {what} saw 1"]
    sent = {request.path for request in http_receiver.requests()}
    assert sent == {f"/v1/{signal}" for signal in SIGNALS if signal != what}


def test_forked_child_counts_from_zero(moments: Programs, http_receiver: FaultyReceiver) -> None:
    """The child uses the parent's providers once it records, with another instance id."""
    assert moments.start("forked", "records", endpoint=http_receiver.endpoint).wait() == 0
    child = http_receiver.expect_span("child", timeout=30)
    parent = http_receiver.expect_span("parent", timeout=30)
    assert child.resource["service.instance.id"] != parent.resource["service.instance.id"]
    values = {point.attributes["who"]: point.value for point in http_receiver.latest_points("work")}
    assert values == {"parent": 10, "child": 1}


@pytest.mark.parametrize("what", ["sets", "sets late"])
def test_forked_child_may_set_its_own_provider(
    moments: Programs, http_receiver: FaultyReceiver, what: str
) -> None:
    """As in a `post_fork` hook; after the child's first measurement it is too late."""
    program = moments.start("forked", what, endpoint=http_receiver.endpoint)
    assert program.wait() == 0
    assert program.log.count("Overriding of current TracerProvider") == 0
    assert program.log.count("Overriding of current MeterProvider") == (what == "sets late")
    assert "own saw 1" in program.log or what == "sets late"
    assert [span.name for span in http_receiver.spans()] == ["parent"]
    http_receiver.expect_total("work", 11, timeout=30)


def test_first_use_without_exporters_restores_the_api() -> None:
    """After the first use nothing is patched any more, and the SDK is not loaded."""
    program = (
        "import sys; from opentelemetry import metrics, trace; from otel_queue_plugins import sdk;"
        "before = vars(trace.ProxyTracer)['_tracer']; sdk.set_up_on_first_use();"
        "assert vars(trace.ProxyTracer)['_tracer'] is not before;"
        "trace.get_tracer('x').start_span('x').end();"
        "metrics.get_meter('x').create_observable_gauge('x');"
        "import threading; assert threading.active_count() == 1;"
        "assert vars(trace.ProxyTracer)['_tracer'] is before;"
        "assert 'opentelemetry.sdk' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], env=clean_environment(), check=True)


def test_api_without_the_patched_names_is_left_unchanged() -> None:
    """Providers are then set up with the first message, without an error."""
    program = (
        "from opentelemetry import trace; from opentelemetry.metrics import _internal as m;"
        "from opentelemetry.metrics._internal import instrument as i;"
        "from opentelemetry._logs import _internal as l;"
        "del trace.ProxyTracer._tracer, i._ProxyCounter.add, i._ProxyGauge, m._ProxyMeter;"
        "l.ProxyLogger._logger = 3;"
        "from otel_queue_plugins import sdk; sdk.set_up_on_first_use(); sdk.ensure_providers()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=clean_environment(), capture_output=True, check=True
    )
    assert done.stderr == b""
