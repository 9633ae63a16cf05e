"""`OTEL_CONFIG_FILE` is read by the SDK's own loader, with our rules for when and in which process.

Programs of their own: a configuration is for a whole process.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from otel_queue_plugins.sdk import ConfigurationError, validate
from otel_queue_plugins.sdk.config import declarative, plan
from tests import configuration_file, pages
from tests.configuration_file import LOGS, METRICS, PROPAGATOR, RESOURCE, TRACES
from tests.environment import clean_environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.receiver import FaultyReceiver
    from tests.sdk.conftest import Programs, Receiver

DEAD = "http://127.0.0.1:9"


def run(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a script to its end."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(**environ),
        capture_output=True,
        check=True,
        text=True,
    )


def problems(environ: dict[str, str]) -> list[str]:
    """What a start would log."""
    return [str(each) for each in plan.read(environ).problems]


@pytest.mark.parametrize("parts", [(TRACES,), (METRICS,), (LOGS, TRACES), ()])
def test_signals_are_those_that_the_file_has_a_provider_for(
    tmp_path: Path, parts: tuple[str, ...]
) -> None:
    """As the data model says: what is not there is off, whatever the variables say."""
    environ = configuration_file.write(tmp_path / "otel.yaml", PROPAGATOR, *parts)
    environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = DEAD
    expected = {TRACES: "traces", METRICS: "metrics", LOGS: "logs"}
    found = plan.read(environ)
    assert set(found.exporters) == {expected[each] for each in parts}
    for signal in expected.values():
        assert plan.is_asked_for(environ, signal) is (signal in found.exporters)


def test_file_goes_before_the_variables(
    programs: Programs, receiver: Receiver, tmp_path: Path
) -> None:
    """Traces, metrics and logs with the file's resource, over both protocols; one line says so."""
    environ = configuration_file.write(
        tmp_path / "otel.yaml", endpoint=receiver.endpoint, protocol=receiver.protocol
    )
    program = programs.start(
        "logging_script", endpoint=DEAD, OTEL_TRACES_SAMPLER="always_off", **environ
    )
    assert program.wait() == 0
    span = receiver.expect_span("work", timeout=30)
    assert span.service == "from-file"
    assert span.resource["service.instance.id"]
    receiver.until(lambda: len(receiver.logs()) == 3, "three records")
    assert "the file counts, and not OTEL_SERVICE_NAME, " in program.log
    assert "OTEL_TRACES_SAMPLER" in program.log


def test_variables_are_not_spoken_of_where_a_distribution_has_set_up(tmp_path: Path) -> None:
    """`opentelemetry-instrument` reads the file first, and sets variables of its own."""
    environ = configuration_file.write(tmp_path / "otel.yaml")
    environ["OTEL_TRACES_EXPORTER"] = "otlp"
    assert len(problems(environ)) == 1
    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
    assert problems(environ) == []


def test_names_that_the_file_has_are_no_variables_without_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads them itself."""
    endpoint = "${OTEL_EXPORTER_OTLP_ENDPOINT}"
    environ = configuration_file.write(tmp_path / "otel.yaml", endpoint=endpoint)
    environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = DEAD
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", DEAD)  # it looks for itself
    assert problems(environ) == []


def test_each_process_exports_under_an_id_of_its_own(
    programs: Programs, http_receiver: FaultyReceiver, tmp_path: Path
) -> None:
    """Nothing is counted twice over a fork, though the file has no instance id."""
    environ = configuration_file.write(tmp_path / "otel.yaml", endpoint=http_receiver.endpoint)
    assert programs.start("family", "fork", **environ).wait() == 0
    http_receiver.expect_total("work", 1, who="parent", timeout=30)
    http_receiver.expect_total("work", 3, who="child", timeout=30)
    ids = [each.resource["service.instance.id"] for each in http_receiver.latest_points("work")]
    assert len(set(ids)) == len(ids) == 4


def test_instance_id_of_the_file_is_kept_and_told_apart(
    programs: Programs, http_receiver: FaultyReceiver, tmp_path: Path
) -> None:
    """The children have it with a part of their own."""
    named = RESOURCE + "    - name: service.instance.id\n      value: box-7\n"
    environ = configuration_file.write(
        tmp_path / "otel.yaml", named, TRACES, PROPAGATOR, endpoint=http_receiver.endpoint
    )
    assert programs.start("late_set_up", **environ).wait() == 0
    ids = {
        http_receiver.expect_span(f"child-{each}", timeout=30).resource["service.instance.id"]
        for each in range(2)
    }
    assert len(ids) == 2
    assert all(str(each).startswith("box-7-") for each in ids)


def test_end_is_bounded_while_nobody_answers(programs: Programs, tmp_path: Path) -> None:
    """The provider's own exit handler would try for longer than `OTEL_QUEUE_FLUSH_TIMEOUT`."""
    environ = configuration_file.write(tmp_path / "otel.yaml")
    program = programs.start("script", OTEL_QUEUE_FLUSH_TIMEOUT="0.5", **environ)
    assert program.wait() == 0
    before, _, after = program.log.partition("left after ")
    assert "ends" in before
    assert float(after.split()[0]) < 5


def test_first_use_loads_the_sdk_and_not_the_start(tmp_path: Path) -> None:
    """A process that records nothing pays nothing."""
    environ = configuration_file.write(tmp_path / "otel.yaml")
    code = (
        "import sys, json; from otel_queue_plugins import sdk; sdk.validate();"
        "sdk.set_up_on_first_use();"
        "print(json.dumps([name for name in sys.modules if name.startswith(("
        "'opentelemetry.sdk', 'opentelemetry.configuration', 'yaml'))]))"
    )
    assert json.loads(run(code, **environ).stdout) == []


CARRYING = """
from opentelemetry import propagate, trace
from otel_queue_plugins import sdk
{before}
sdk.set_up_on_first_use()
{between}
carrier = {{}}
span = trace.NonRecordingSpan(trace.SpanContext(7, 7, is_remote=False))
propagate.inject(carrier, trace.set_span_in_context(span))
print(*sorted(carrier), len(carrier))
print(type(propagate.get_global_textmap()).__name__)
"""
B3 = "propagator: {{composite: [{{b3: {{}}}}]}}\n"
OWN = "from opentelemetry.propagators import b3; propagate.set_global_textmap(b3.B3MultiFormat())"


@pytest.mark.parametrize(
    ("parts", "before", "between", "carried"),
    [
        ((B3,), "", "", "b3 1\nCompositePropagator\n"),
        ((TRACES,), "", "", "0\nCompositePropagator\n"),
        ((B3,), OWN, "", "x-b3-sampled x-b3-spanid x-b3-traceid 3\nB3MultiFormat\n"),
        ((B3,), "", OWN, "x-b3-sampled x-b3-spanid x-b3-traceid 3\nB3MultiFormat\n"),
        (("propagator: 7\n",), "", "", "traceparent 1\n_AtFirstUse\n"),
    ],
    ids=["named", "none", "set before", "set after", "wrong file"],
)
def test_propagator_is_the_files_unless_the_application_sets_one(
    tmp_path: Path, parts: tuple[str, ...], before: str, between: str, carried: str
) -> None:
    """From the first message on. What is wrong with a file keeps no message from leaving."""
    environ = configuration_file.write(tmp_path / "otel.yaml", *parts)
    done = run(CARRYING.format(before=before, between=between), **environ)
    assert done.stdout == carried


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("", "messages carry no trace: add propagator:"),
        ("propagator: {{composite_list: none}}\n", "messages carry no trace: add propagator:"),
        ("propagator: {{composite: [{{absent: {{}}}}]}}\n", "its propagator cannot be made: "),
    ],
)
def test_file_without_a_propagator_is_warned_of(tmp_path: Path, part: str, said: str) -> None:
    """The data model has none then, and process spans would begin traces of their own."""
    (line,) = problems(configuration_file.write(tmp_path / "otel.yaml", TRACES, part))
    assert said in line


def test_missing_loader_is_one_line_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is set up, as without the file."""
    environ = configuration_file.write(tmp_path / "otel.yaml")
    monkeypatch.setattr(declarative, "LOADER", "opentelemetry.no_such_loader")
    found = plan.read(environ)
    (problem,) = found.problems
    assert "pip install opentelemetry-configuration, which reads this file" in str(problem)
    assert dict(found.exporters) == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tracer_provider: [", "Failed to parse YAML"),
        ("tracer_provider: {{processors: 7}}\n", "7 is not of type"),
    ],
)
def test_wrong_file_stops_a_strict_start(tmp_path: Path, text: str, reason: str) -> None:
    """Else it is one line, and the application runs without telemetry."""
    environ = configuration_file.write(tmp_path / "otel.yaml", text, PROPAGATOR)
    with pytest.raises(ConfigurationError) as raised:
        validate({**environ, "OTEL_QUEUE_STRICT": "true"})
    assert str(raised.value).startswith(f"OTEL_CONFIG_FILE={environ['OTEL_CONFIG_FILE']!r}: ")
    assert reason in str(raised.value)
    assert dict(plan.read(environ).exporters) == {}


def test_wrong_exporter_leaves_the_other_signals(
    programs: Programs, http_receiver: FaultyReceiver, tmp_path: Path
) -> None:
    """A component that is not installed is one line for its signal."""
    wrong = "meter_provider: {{readers: [{{periodic: {{exporter: {{absent: }}}}}}]}}\n"
    environ = configuration_file.write(
        tmp_path / "otel.yaml", TRACES, PROPAGATOR, wrong, endpoint=http_receiver.endpoint
    )
    program = programs.start("script", **environ)
    assert program.wait() == 0
    http_receiver.expect_span("script", timeout=30)
    assert "metrics could not be set up; the application runs without: " in program.log
    assert "absent" in program.log


@pytest.mark.parametrize(
    ("part", "environ", "said"),
    [
        (
            "instrumentation/development: {{python: {{redis: {{}}}}}}\n",
            {},
            "opentelemetry-instrument",
        ),
        (
            TRACES.replace("{exporter}", "otlp_grpc"),
            {"GRPC_ENABLE_FORK_SUPPORT": "0"},
            "would hang",
        ),
    ],
)
def test_what_is_not_done_is_said(
    tmp_path: Path, part: str, environ: dict[str, str], said: str
) -> None:
    """In one line at the start."""
    named = configuration_file.write(tmp_path / "otel.yaml", PROPAGATOR, part)
    (line,) = problems({**named, **environ})
    assert said in line


def test_disabled_file_sets_nothing_up(
    programs: Programs, http_receiver: FaultyReceiver, tmp_path: Path
) -> None:
    """No signal, and no warning."""
    environ = configuration_file.write(
        tmp_path / "otel.yaml", "disabled: true\n", TRACES, endpoint=http_receiver.endpoint
    )
    program = programs.start("script", **environ)
    assert program.wait() == 0
    assert http_receiver.requests() == []
    assert "WARNING" not in program.log
    assert "propagator" not in program.log


def test_file_of_the_page_is_one(tmp_path: Path) -> None:
    """As it stands there, and nothing is said against it."""
    path = tmp_path / "otel.yaml"
    (text,) = pages.blocks("how-to/configuration-file", "yaml")
    path.write_text(text)
    found = plan.read({"OTEL_CONFIG_FILE": str(path), "OTEL_SERVICE_NAME": "web"})
    assert found.problems == ()
    assert set(found.exporters) == {"traces", "metrics"}


def test_limits_and_log_level_of_the_file_hold(
    programs: Programs, http_receiver: FaultyReceiver, tmp_path: Path
) -> None:
    """What is not about exporters, too."""
    environ = configuration_file.write(
        tmp_path / "otel.yaml",
        "log_level: error\n",
        TRACES + "  limits: {{event_count_limit: 1}}\n",
        PROPAGATOR,
        endpoint=http_receiver.endpoint,
    )
    assert programs.start("rich_script", **environ).wait() == 0
    assert len(http_receiver.expect_span("rich", timeout=30).events) == 1
    code = (
        "import logging; from otel_queue_plugins import sdk; sdk.ensure_providers();"
        "print(logging.getLogger('opentelemetry').level)"
    )
    assert run(code, **environ).stdout == f"{logging.ERROR}\n"
