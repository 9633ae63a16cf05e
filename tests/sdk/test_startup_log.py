"""One line at INFO says that telemetry is on, and where it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.receiver import FaultyReceiver
    from tests.sdk.conftest import Programs, Receiver

ON = "INFO telemetry is on: "


def lines(log: str) -> list[str]:
    """The log lines about the start."""
    return [line for line in log.splitlines() if "telemetry" in line]


def test_startup_line_names_signals_endpoint_protocol_and_service(
    programs: Programs, receiver: Receiver, protocol: str
) -> None:
    """One line for all signals, which forked children do not repeat."""
    program = programs.start("talkative", endpoint=receiver.endpoint, protocol=protocol)
    assert program.wait() == 0
    goal = f"traces and metrics to {receiver.endpoint} ({protocol}); logs off; service program"
    assert lines(program.log) == [ON + goal]


def test_startup_line_of_forked_children_is_logged_once(
    programs: Programs, http_receiver: FaultyReceiver
) -> None:
    """Their parent has set up nothing before the forks, and logs nothing after them."""
    program = programs.start("talkative", "children", endpoint=http_receiver.endpoint)
    assert program.wait() == 0
    assert len(lines(program.log)) == 1


def test_startup_line_names_each_destination_separately(
    programs: Programs, http_receiver: FaultyReceiver
) -> None:
    """With its path, and without secrets."""
    host = http_receiver.endpoint.removeprefix("http://")
    program = programs.start(
        "talkative",
        endpoint=f"http://user:s3cret@{host}",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"http://{host}/own?key=s3cret",
        OTEL_EXPORTER_OTLP_HEADERS="key=s3cret",
        OTEL_LOGS_EXPORTER="console",
        OTEL_SERVICE_NAME="",
    )
    assert program.wait() == 0
    rest = (
        f"traces to http://{host}/own?*** (http/protobuf); metrics to http://***@{host} "
        "(http/protobuf); logs to console; service unknown_service (OTEL_SERVICE_NAME is not set)"
    )
    # The SDK adds the name of the program, from 1.45 on.
    assert lines(program.log)[0].replace("unknown_service:python", "unknown_service") == ON + rest
    assert "s3cret" not in program.log


def test_startup_line_names_application_providers(
    programs: Programs, http_receiver: FaultyReceiver
) -> None:
    """The other signals are named with their own destination."""
    program = programs.start("talkative", "own", endpoint=http_receiver.endpoint)
    assert program.wait() == 0
    own = "traces and metrics to the application's own provider"
    assert lines(program.log) == [f"{ON}{own}; logs off"]


@pytest.mark.parametrize("extra", [{}, {"OTEL_QUEUE_SETUP": "off"}], ids=["unset", "off"])
def test_startup_line_is_missing_without_exporters(
    programs: Programs, extra: dict[str, str]
) -> None:
    """Nothing is on, so there is nothing to log."""
    program = programs.start("talkative", **extra)
    assert program.wait() == 0
    assert lines(program.log) == []
