"""What is read from the environment, and what is rejected. Without processes and the SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry import environment_variables
from opentelemetry.sdk import environment_variables as sdk_environment_variables

from otel_queue_plugins.sdk import ConfigurationError, validate
from otel_queue_plugins.sdk.config.plan import flush_timeout, is_off, read
from otel_queue_plugins.sdk.config.reader import Environment
from otel_queue_plugins.sdk.config.targets import Target
from otel_queue_plugins.sdk.config.variable_names import check_look_alikes

if TYPE_CHECKING:
    from pathlib import Path

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


def target(signal: str = "traces", **environ: str) -> Target:
    """The only destination of `signal`."""
    (exporter,) = read(environ).exporters[signal]
    assert isinstance(exporter, Target)
    return exporter


def test_plan_without_variables_is_empty() -> None:
    """Without an endpoint or an exporter there is no plan, and no problem."""
    plan = read({"OTEL_SERVICE_NAME": "shop"})
    assert (dict(plan.exporters), plan.problems) == ({}, ())


@pytest.mark.parametrize(
    ("environ", "signals"),
    [
        (ENDPOINT, {"traces", "metrics"}),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "  "}, set()),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a"}, {"traces"}),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://a"}, {"metrics"}),
        ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://a"}, {"logs"}),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, {"traces"}),
        ({"OTEL_TRACES_EXPORTER": "console"}, {"traces"}),
        ({**ENDPOINT, "OTEL_LOGS_EXPORTER": "otlp"}, {"traces", "metrics", "logs"}),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, {"metrics"}),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": ""}, {"traces", "metrics"}),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": ""}, {"traces"}),
        (
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "", "OTEL_TRACES_EXPORTER": "otlp"},
            {"metrics"},
        ),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, set()),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE "}, set()),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, {"traces", "metrics"}),
        ({**ENDPOINT, "OTEL_QUEUE_SETUP": "off"}, set()),
    ],
)
def test_endpoints_decide_which_signals_are_on(environ: dict[str, str], signals: set[str]) -> None:
    """The signal's endpoint counts, then the general one; logs need their own."""
    plan = read(environ)
    assert set(plan.exporters) == signals
    assert plan.problems == ()


@pytest.mark.parametrize("value", ["1", "yes", "on", "TRUE!"])
@pytest.mark.parametrize("variable", ["OTEL_SDK_DISABLED", "OTEL_EXPORTER_OTLP_INSECURE"])
def test_specified_boolean_other_than_true_is_false_with_a_warning(
    variable: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A user who writes `1` is warned that it has no effect."""
    environ = {
        **ENDPOINT,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317",
        variable: value,
    }
    assert target(**environ).insecure is False
    validate(environ)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(f"{variable}='{value}': ")


@pytest.mark.parametrize("value", ["perhaps", "2"])
@pytest.mark.parametrize(
    "variable", ["OTEL_QUEUE_STRICT", "OTEL_QUEUE_SETUP", "OTEL_QUEUE_RELAY", "OTEL_QUEUE_FASTPATH"]
)
def test_own_variable_that_is_no_boolean_is_reported(
    variable: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One ERROR line with the choices; it counts as unset."""
    environ = {**ENDPOINT, variable: value}
    validate(environ)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    line = f"{variable}='{value}': use one of true, false, 1, 0, yes, no, on, off"
    assert record.getMessage() == line
    assert set(read(environ).exporters) == {"traces", "metrics"}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("OTEL_QUEUE_RELATON", "OTEL_QUEUE_RELATION"),
        ("OTEL_QUEUE_RELATIONS", "OTEL_QUEUE_RELATION"),
        ("OTEL_QUEUE_FLUSH_TIMEOUTS", "OTEL_QUEUE_FLUSH_TIMEOUT"),
        ("OTEL_QUEUE_SET_UP", "OTEL_QUEUE_SETUP"),
        ("OTEL_QUEUE_FAST_PATH", "OTEL_QUEUE_FASTPATH"),
    ],
)
def test_unknown_own_variable_is_reported_with_the_nearest(
    name: str, meant: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One ERROR line with the nearest name, whatever is on or off, and without the value."""
    for environ in ({}, ENDPOINT, {"OTEL_QUEUE_SETUP": "off"}):
        validate({**environ, name: "s3cret"})
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage() == f"{name}: there is no such variable; did you mean {meant}?"
    with pytest.raises(ConfigurationError, match=name):
        validate({name: "s3cret", "OTEL_QUEUE_STRICT": "1"})


def test_unknown_own_variable_like_none_is_reported_with_all_names(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If no name is near, all names are listed."""
    validate({"OTEL_QUEUE_Q": "1"})
    assert "no such variable; there are OTEL_QUEUE_RELATION, " in caplog.text


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("OTEL_EXPORTER_OLTP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("OTEL_EXPORTER_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("OTEL_EXPORTER_OTLP_HEADER", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("OTEL_EXPORTER_OTLP_TRACE_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"),
        (
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY",
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        ),
        ("OTEL_TRACE_EXPORTER", "OTEL_TRACES_EXPORTER"),
        ("OTEL_SERVICENAME", "OTEL_SERVICE_NAME"),
        ("OTEL_QUEUES_RELATION", "OTEL_QUEUE_RELATION"),
    ],
)
def test_misspelt_opentelemetry_variable_is_warned_of(
    name: str, meant: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One WARNING line with the right name, without the value; nothing is turned off."""
    validate({**ENDPOINT, name: "key=s3cret", "OTEL_QUEUE_STRICT": "true"})
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    line = f"{name}: OpenTelemetry knows no such variable; did you mean {meant}?"
    assert record.getMessage() == line


def test_specified_variables_are_not_warned_of() -> None:
    """Those of the SDK, of other exporters and languages, and empty ones."""
    names = {
        value
        for module in (environment_variables, sdk_environment_variables)
        for value in vars(module).values()
        if isinstance(value, str) and value.startswith("OTEL_")
    }
    others = (
        "OTEL_EXPORTER_JAEGER_ENDPOINT",
        "OTEL_EXPORTER_PROMETHEUS_PORT",
        "OTEL_SEMCONV_STABILITY_OPT_IN",
        "OTEL_EXPORTER_OTLP_PROFILES_ENDPOINT",
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS",
        "OTEL_EXPERIMENTAL_CONFIG_FILE",
    )
    environ = {**dict.fromkeys((*names, *others), "x"), "OTEL_EXPORTER_OTLP_HEADER": ""}
    environment = Environment(environ)
    check_look_alikes(environment)
    assert environment.problems == []


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://user:s3cret@collector:x",
        "http://user:s3=cr/et@collector:x",
        "http://user:s3'cr\"s3t s3@collector:x",
        f"http://user:{'s3' * 500}@collector:x",
        "http://s3cret@collector:x",
        "user:s3cret@collector",
        "https://collector:x/path?api-key=s3cret",
        "ftp://user:s3cret@collector/path?api-key=s3cret",
    ],
)
def test_problem_line_contains_no_secret(endpoint: str, caplog: pytest.LogCaptureFixture) -> None:
    """No password and no query of a URL; the rest of it is shown."""
    validate({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
    (record,) = caplog.records
    assert "s3" not in record.getMessage()
    assert "collector" in record.getMessage()


def test_problem_line_is_one_line_of_bounded_length(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the value is."""
    validate({**ENDPOINT, "OTEL_TRACES_EXPORTER": "a\nb\r\n" + "c" * 100_000})
    (record,) = caplog.records
    assert len(record.getMessage().splitlines()) == 1
    assert len(record.getMessage()) < 1000


def test_several_exporters_of_a_signal_are_planned() -> None:
    """`OTEL_TRACES_EXPORTER` is a list; every entry is used once."""
    exporters = read({"OTEL_TRACES_EXPORTER": "otlp, console,console"}).exporters["traces"]
    assert [getattr(each, "endpoint", each) for each in exporters] == [
        "http://localhost:4318/v1/traces",
        "console",
    ]


@pytest.mark.parametrize(
    ("environ", "endpoint"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c/base/"}, "http://c/base/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/own"}, "http://c/own"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "http://localhost:4318/v1/traces"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "http://localhost:4317",
        ),
        ({"OTEL_TRACES_EXPORTER": "otlp_proto_grpc"}, "http://localhost:4317"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"},
            "http://localhost:4317",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "GRPC"},
            "http://c:4317",
        ),
    ],
)
def test_endpoint_variables_decide_the_trace_endpoint(
    environ: dict[str, str], endpoint: str
) -> None:
    """The signal's path is appended to the general endpoint over HTTP, not to its own."""
    assert target(**environ).endpoint == endpoint


@pytest.mark.parametrize(
    ("endpoint", "insecure", "expected"),
    [
        ("http://c:4317", None, True),
        ("http://c:4317", "false", True),
        ("https://c:4317", None, False),
        ("c:4317", None, False),
        ("c:4317", "true", True),
    ],
)
def test_endpoint_scheme_decides_about_tls(
    endpoint: str, insecure: str | None, expected: bool
) -> None:
    """gRPC: `http` is plain and `https` is TLS; `_INSECURE` counts only without a scheme."""
    environ = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        **({} if insecure is None else {"OTEL_EXPORTER_OTLP_INSECURE": insecure}),
    }
    assert target(**environ).insecure is expected


@pytest.mark.parametrize(
    ("raw", "headers"),
    [
        ("Authorization=Basic abc==", (("authorization", "Basic abc=="),)),
        ("authorization=Basic%20abc%3D%3D", (("authorization", "Basic abc=="),)),
        ("a=1, b = 2 ,", (("a", "1"), ("b", "2"))),
        ("x-sentry-auth=sentry sentry_key=K", (("x-sentry-auth", "sentry sentry_key=K"),)),
        ("dd-config=%7B%22a%22%2C1%7D", (("dd-config", '{"a",1}'),)),
        ("", ()),
    ],
)
def test_headers_are_parsed_as_specified(raw: str, headers: tuple[tuple[str, str], ...]) -> None:
    """Values may hold spaces and `=`, plain or percent-encoded; names are lower-cased."""
    assert target(**ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS=raw).headers == headers


def test_own_headers_of_a_signal_replace_the_general_ones() -> None:
    """They are not merged: credentials for one backend are not sent to another."""
    environ = {
        **ENDPOINT,
        "OTEL_EXPORTER_OTLP_HEADERS": "a=1",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "b=2",
    }
    assert target("traces", **environ).headers == (("b", "2"),)
    assert target("metrics", **environ).headers == (("a", "1"),)


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [("", 10), ("10", 10), ("0.5", 0.5), ("2500", 2.5), ("100", 0.1), ("10000", 10)],
)
def test_timeout_is_read_in_seconds_or_milliseconds(raw: str, seconds: float) -> None:
    """Milliseconds as specified; numbers under 100 are seconds, as in the Python SDK."""
    assert target(**ENDPOINT, OTEL_EXPORTER_OTLP_TIMEOUT=raw).timeout == seconds


@pytest.mark.parametrize(
    ("variable", "value", "fix"),
    [
        ("OTEL_EXPORTER_OTLP_INSECURE", "true", "unset it, or write http://"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:443", "write https://"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "http://collector:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://collector", "the scheme must be http or https"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://", "the host is missing"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:port", "this is no URL"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such.pem", "no readable file there"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/no/such.pem", "no readable file there"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "use one of http/protobuf, grpc"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli", "use one of none, gzip, deflate"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "abc", "use a number of at least 0"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "nan", "use a number of at least 0"),
        ("OTEL_TRACES_EXPORTER", "jaeger", "'jaeger' is not installed or misspelt"),
        ("OTEL_TRACES_EXPORTER", "none,otlp", "none cannot be combined"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "'sometimes' is not installed or misspelt"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0", "use a whole number of at least 1"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "use a whole number of at least 1"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096", "must not be above OTEL_BSP_MAX_QUEUE_SIZE"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "-1", "use a whole number of at least 0"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1.5", "use a whole number of at least 1"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "never", "use one of trace_based, always_on"),
        (
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            "both",
            "use one of cumulative, delta, lowmemory",
        ),
        ("OTEL_CONFIG_FILE", "/no/such.yaml", "no readable file there"),
        ("OTEL_PROPAGATORS", "datadog", "not installed or misspelt"),
        ("OTEL_PROPAGATORS", "xray", "pip install opentelemetry-propagator-aws-xray"),
        ("OTEL_QUEUE_FLUSH_TIMEOUT", "soon", "use a number of at least 0"),
    ],
)
def test_wrong_setting_is_rejected_with_the_fix(variable: str, value: str, fix: str) -> None:
    """One line with the variable, the value and the fix; in strict mode it stops the start."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector:4318", variable: value}
    with pytest.raises(ConfigurationError) as raised:
        validate({**environ, "OTEL_QUEUE_STRICT": "true"})
    line = str(raised.value)
    assert line.startswith(f"{variable}={value!r}: ")
    assert fix in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("variable", "protocol", "port", "advice"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "", 4317, "use port 4318, or {}=grpc"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc", 4318, "use port 4317, or {}=http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "", 4317, "use port 4318, or {}=grpc"),
    ],
)
def test_port_of_the_other_protocol_is_warned_of(
    caplog: pytest.LogCaptureFixture, variable: str, protocol: str, port: int, advice: str
) -> None:
    """It may be right: it is a warning, in strict mode too, and the signals stay on."""
    endpoint = f"http://doubted:{port}"
    environ = {variable: endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    validate({**environ, "OTEL_QUEUE_STRICT": "true"})
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(f"{variable}='{endpoint}': port {port} is mostly")
    assert record.getMessage().endswith(advice.format("OTEL_EXPORTER_OTLP_PROTOCOL"))
    assert "traces" in read(environ).exporters


@pytest.mark.parametrize(("protocol", "port"), [("", 4318), ("grpc", 4317), ("grpc", 55690)])
def test_other_ports_are_not_warned_of(protocol: str, port: int) -> None:
    """Only OTLP's own ports have a known protocol."""
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://c:{port}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
    }
    assert read(environ).problems == ()


@pytest.mark.parametrize(
    ("suffix", "value"),
    [
        ("INSECURE", "true"),
        ("CERTIFICATE", "/no/such.pem"),
        ("PROTOCOL", "udp"),
        ("COMPRESSION", "brotli"),
        ("TIMEOUT", "-1"),
        ("HEADERS", "novalue"),
        ("ENDPOINT", "http://collector:443"),
    ],
)
def test_own_variable_of_a_signal_is_checked(suffix: str, value: str) -> None:
    """A problem turns off that signal alone."""
    name = f"OTEL_EXPORTER_OTLP_METRICS_{suffix}"
    plan = read({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector:4318", name: value})
    assert [(each.variable, each.signals) for each in plan.problems] == [(name, ("metrics",))]
    assert set(plan.exporters) == {"traces"}


@pytest.mark.parametrize("name", ["traceidratio", "parentbased_traceidratio"])
@pytest.mark.parametrize("ratio", ["1.5", "-0.1", "half", "nan"])
def test_sampling_ratio_outside_0_to_1_is_rejected(name: str, ratio: str) -> None:
    """The SDK would sample everything."""
    environ = {**ENDPOINT, "OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": ratio}
    plan = read(environ)
    assert [problem.variable for problem in plan.problems] == ["OTEL_TRACES_SAMPLER_ARG"]
    assert set(plan.exporters) == {"metrics"}


def test_grpc_without_fork_support_is_rejected() -> None:
    """With gRPC's fork handlers off, every forked child hangs or crashes (measured: 8 of 8)."""
    grpc = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }
    plan = read({**grpc, "GRPC_ENABLE_FORK_SUPPORT": "0"})
    assert plan.exporters == {}
    assert {problem.variable for problem in plan.problems} == {"GRPC_ENABLE_FORK_SUPPORT"}
    assert read({**ENDPOINT, "GRPC_ENABLE_FORK_SUPPORT": "0"}).problems == ()


@pytest.mark.parametrize("bad", ["novalue", "a=1,=2", "sp ace=1", "a=%0Ainjected", "k=caf\u00e9"])
def test_wrong_header_is_rejected_and_not_shown(bad: str) -> None:
    """Headers have credentials: the line has the number of the entry, not its value."""
    (problem, *_) = read({**ENDPOINT, "OTEL_EXPORTER_OTLP_HEADERS": bad}).problems
    assert "is not key=value" in problem.fix
    assert bad not in str(problem)


def test_problem_turns_off_its_own_signal_only() -> None:
    """The other signals stay on."""
    plan = read({**ENDPOINT, "OTEL_METRIC_EXPORT_INTERVAL": "abc"})
    assert set(plan.exporters) == {"traces"}
    assert [problem.signals for problem in plan.problems] == [("metrics",)]


def test_client_key_without_certificate_is_rejected(tmp_path: Path) -> None:
    """The SDK would ignore the key without a warning."""
    (tmp_path / "key.pem").write_text("key")
    environ = {**ENDPOINT, "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(tmp_path / "key.pem")}
    assert "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE" in read(environ).problems[0].fix


def test_empty_variables_count_as_unset() -> None:
    """Containers often set variables to the empty string."""
    empty = dict.fromkeys(
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_INSECURE",
            "OTEL_TRACES_SAMPLER",
            "OTEL_TRACES_SAMPLER_ARG",
            "OTEL_PROPAGATORS",
            "OTEL_METRICS_EXEMPLAR_FILTER",
            "OTEL_BSP_SCHEDULE_DELAY",
            "OTEL_QUEUE_FLUSH_TIMEOUT",
            "OTEL_QUEUE_STRICT",
            "OTEL_QUEUE_SETUP",
        ),
        "",
    )
    assert read({**ENDPOINT, **empty}) == read(ENDPOINT)


@pytest.mark.parametrize("value", ["off", "OFF", "false", "0", "no"])
def test_setup_off_leaves_the_plan_empty(value: str) -> None:
    """`OTEL_QUEUE_SETUP`, in each spelling of a flag."""
    assert is_off({"OTEL_QUEUE_SETUP": value})


@pytest.mark.parametrize(("value", "seconds"), [("", 5), ("2.5", 2.5), ("0", 0), ("-1", 5)])
def test_flush_timeout_is_read_in_seconds(value: str, seconds: float) -> None:
    """A wrong value is the default."""
    assert flush_timeout({"OTEL_QUEUE_FLUSH_TIMEOUT": value}) == seconds


def test_problems_are_logged_once_and_raise_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One ERROR line per problem and process, however often it is checked."""
    environ = {**ENDPOINT, "OTEL_TRACES_SAMPLER": "one-of-a-kind"}
    validate(environ)
    validate(environ)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage().endswith("(traces off)")


def test_problem_of_all_signals_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """A general variable concerns several signals."""
    validate({"OTEL_EXPORTER_OTLP_ENDPOINT": "gopher://one-line"})
    (record,) = caplog.records
    assert record.getMessage().endswith("(traces, metrics off)")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("datadog,b3", "b3"),
        ("datadog", "tracecontext,baggage"),
        ("tracecontext,b3multi", "tracecontext,b3multi"),
        ("none", "none"),
    ],
)
def test_unknown_propagators_are_removed(before: str, after: str) -> None:
    """With one `import opentelemetry.propagate` raises, which would stop the application."""
    environ = {"OTEL_PROPAGATORS": before}
    validate(environ)
    assert environ["OTEL_PROPAGATORS"] == after
