"""From the moment `instrument()` returns, whatever a process records is recorded.

Mostly on one broker: what a process does at its start does not depend on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.brokers.moments import (
    BEFORE,
    BOTH_FRAMEWORKS,
    FACTS,
    INSTRUMENTS,
    LOGS,
    RECORD,
    REDIS,
    facts,
    run,
)
from tests.brokers.telemetry_cases import LATER, SENT

if TYPE_CHECKING:
    from tests.brokers.harness import Lab

# Its clients do not import OpenTelemetry's SDK; that of Redis does.
RABBITMQ = pytest.mark.parametrize("own_broker", ["rabbitmq"], indirect=True)
NOTHING = {"OTEL_EXPORTER_OTLP_ENDPOINT": "", "OTEL_SERVICE_NAME": ""}
OBTAINED = pytest.mark.parametrize(
    "parts",
    [(BEFORE, "instrument_app()\n"), (BEFORE, "instrument_app()\n", INSTRUMENTS)],
    ids=["before", "after"],
)


@BOTH_FRAMEWORKS
@OBTAINED
def test_send_inside_span_of_any_tracer_is_its_child(
    framework: str, parts: tuple[str, ...], own_lab: Lab
) -> None:
    """The tracer may be made before or after `instrument()`; all is one trace."""
    run(
        own_lab,
        framework,
        *parts,
        """
with tracer.start_as_current_span("job"):
    send()
    with tracer.start_as_current_span("after"):
        send()
""",
    )
    spans = {span.span_id: span for span in own_lab.receiver.spans()}
    assert len({span.trace_id for span in spans.values()}) == 1
    family = {(s.name, spans[s.parent_id].name if s.parent_id else "") for s in spans.values()}
    assert family == {("job", ""), ("send work", "job"), ("after", "job"), ("send work", "after")}
    own_lab.receiver.expect_total(SENT, 2, timeout=30)


@REDIS
@BOTH_FRAMEWORKS
@OBTAINED
def test_process_that_never_sends_exports_its_telemetry(
    framework: str, parts: tuple[str, ...], own_lab: Lab
) -> None:
    """Its spans, its measurements of each kind and its log records, from the first of each on."""
    run(
        own_lab,
        framework,
        *parts,
        """
import logging

@tracer.start_as_current_span("decorated")
def job():
    open_orders.add(1)
    orders.add(2)
    seconds.record(0.5)
    logger.emit(body="an order", severity_number=_logs.SeverityNumber.WARN)
    logging.getLogger("shop").warning("plain words")
    open_orders.add(-1)

job()
""",
        env=LOGS,
    )
    received = own_lab.receiver
    (span,) = received.spans()
    assert (span.name, span.service) == ("decorated", "script")
    assert [point.value for point in received.latest_points("shop.open_orders")] == [0]
    assert received.total("shop.orders") == 2
    assert received.total("shop.seconds") == 1
    assert {record.body for record in received.logs()} == {"an order", "plain words"}
    assert {record.trace_id for record in received.logs()} == {span.trace_id}


@REDIS
@pytest.mark.parametrize("signal", RECORD)
def test_signal_is_set_up_by_its_first_record_alone(signal: str, own_lab: Lab) -> None:
    """The other signals keep the API's proxies and cost nothing."""
    script = run(own_lab, "celery", BEFORE, "instrument_app()\n", RECORD[signal], FACTS, env=LOGS)
    proxies = facts(script)["proxies"]
    assert proxies == [each != signal for each in ("traces", "metrics", "logs")]
    assert {request.path for request in own_lab.receiver.requests()} == {f"/v1/{signal}"}


@REDIS
def test_first_records_of_many_threads_are_exported_once(own_lab: Lab) -> None:
    """They record at the same time, and nothing is lost or exported twice."""
    run(
        own_lab,
        "celery",
        BEFORE,
        """
instrument_app()
barrier = threading.Barrier(8)

def work():
    barrier.wait()
    with tracer.start_as_current_span("job"):
        orders.add(1)
        send()

threads = [threading.Thread(target=work) for _ in range(8)]
for each in threads: each.start()
for each in threads: each.join()
""",
    )
    spans = own_lab.receiver.spans()
    jobs = {span.span_id for span in spans if span.name == "job"}
    assert {span.parent_id for span in spans if span.name == "send work"} == jobs
    assert len(jobs) == 8
    assert len(spans) == 16
    assert own_lab.receiver.total("shop.orders") == 8
    assert own_lab.receiver.total(SENT) == 8


@RABBITMQ
@BOTH_FRAMEWORKS
@pytest.mark.parametrize("env", [{}, LOGS], ids=["", "logs"])
def test_process_that_records_nothing_sets_up_nothing(
    framework: str, env: dict[str, str], own_lab: Lab
) -> None:
    """No thread, no connection, no import of the SDK, and no request at the end."""
    script = run(own_lab, framework, BEFORE, "instrument_app()\n", INSTRUMENTS, FACTS, env=env)
    expected = {"sdk": False, "threads": 1, "sockets": 0, "proxies": [True] * 3}
    assert facts(script) == expected
    assert own_lab.receiver.requests() == []


@RABBITMQ
@BOTH_FRAMEWORKS
def test_process_without_exporters_in_environment_sets_up_nothing(
    framework: str, own_lab: Lab
) -> None:
    """Whatever is recorded and sent; the handlers of signals are Python's."""
    script = run(
        own_lab,
        framework,
        BEFORE,
        "instrument_app()\nassert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n",
        *RECORD.values(),
        "send()\nassert not tracer.start_span('job').is_recording()\n",
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n",
        FACTS,
        env={**NOTHING, "RESULTS_URL": "cache+memory://"},
    )
    found = facts(script)
    assert (found["sdk"], found["threads"], found["proxies"]) == (False, 1, [True] * 3)


@REDIS
def test_beat_exports_from_its_first_message_on(own_lab: Lab) -> None:
    """All that it sent is exported. Its return code may differ: the signal may interrupt a tick."""
    app = own_lab.module("tests.brokers.apps.celery_flows")
    beat = own_lab.beat(app, env=LATER)
    beat.wait_for_log("Sending due task tick", count=3)  # it says so before it sends
    beat.stop()
    sends = [span for span in own_lab.receiver.spans() if span.name == "send tick"]
    assert len(sends) >= 2
    own_lab.receiver.expect_total(SENT, len(sends), timeout=30, taskqueue__task__name="tick")


@REDIS
def test_management_command_is_one_trace_with_its_sends(own_lab: Lab) -> None:
    """`python -m django ...`: the command's own span has three sends as children."""
    pytest.importorskip("django")
    env = {
        **LATER,
        "FRAMEWORK": "celery",
        "DJANGO_SETTINGS_MODULE": "tests.brokers.apps.django_shop.settings",
    }
    command = own_lab.processes.python(
        "-m", "django", "send_orders", env=own_lab.env("command", own_lab.module(""), env)
    )
    assert command.wait() == 0
    root = own_lab.receiver.expect_span("send_orders", timeout=30)
    spans = own_lab.receiver.expect_trace(root.trace_id, 4, timeout=30)
    assert [span.parent_id for span in spans] == ["", *[root.span_id] * 3]
    own_lab.receiver.expect_total(SENT, 3, timeout=30)
