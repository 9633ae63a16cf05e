"""Where a worker listens, and what is said of an address that cannot be right."""

from __future__ import annotations

import pytest

from otel_queue_plugins.core.settings.kinds import Address
from otel_queue_plugins.sdk.config import scraping
from otel_queue_plugins.sdk.config.plan import read
from otel_queue_plugins.sdk.config.serving import place


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),  # noqa: S104 - what a user may ask for
        ("localhost:65535", ("localhost", 65535)),
        ("[::1]:9464", ("::1", 9464)),
    ],
)
def test_address_is_a_port_with_or_without_a_host(text: str, address: tuple[str, int]) -> None:
    """Without one it is reached from this machine only."""
    assert Address().parse(text) == address


@pytest.mark.parametrize(
    "text",
    ["0", "65536", "-1", "x", "host", ":9464", "::1:9464", "http://a:1", "a b:1", "[::1]", "1:2:3"],
)
def test_wrong_address_is_explained_and_nothing_listens(text: str) -> None:
    """With the value and what to write instead."""
    environ = {"OTEL_QUEUE_HTTP": text}
    assert place(environ) is None
    (problem,) = read(environ).problems
    assert str(problem) == (
        f"OTEL_QUEUE_HTTP={text!r}: use a port from 1 to 65535, or HOST:PORT ([::1]:9464 for IPv6)"
    )


def test_prometheus_names_the_place_where_nothing_else_does() -> None:
    """With the defaults of the specification."""
    environ = {"OTEL_METRICS_EXPORTER": "otlp, prometheus"}
    assert place({}) is None
    assert place(environ) == (("localhost", 9464), "OTEL_EXPORTER_PROMETHEUS_PORT")
    named = {"OTEL_EXPORTER_PROMETHEUS_HOST": "::", "OTEL_EXPORTER_PROMETHEUS_PORT": "1"}
    found = place({**environ, **named})
    assert found is not None
    assert found.address == ("::", 1)
    found = place({**environ, **named, "OTEL_QUEUE_HTTP": "2"})
    assert found is not None
    assert found.address == ("127.0.0.1", 2)
    for off in ({"OTEL_SDK_DISABLED": "true"}, {"OTEL_QUEUE_SETUP": "off"}):
        assert place({**environ, **off}) is None


def test_wrong_port_of_prometheus_is_explained() -> None:
    """The variable is named."""
    environ = {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": "x"}
    scraping.set_siblings_check(lambda: True)
    try:
        (problem,) = read(environ).problems
    finally:
        scraping.set_siblings_check(lambda: None)
    assert problem.variable == "OTEL_EXPORTER_PROMETHEUS_PORT"


@pytest.mark.parametrize("text", ["0", "-1", "soon"])
def test_wrong_live_timeout_is_explained(text: str) -> None:
    """Zero would call every worker dead."""
    (problem,) = read({"OTEL_QUEUE_LIVE_TIMEOUT": text}).problems
    assert str(problem) == f"OTEL_QUEUE_LIVE_TIMEOUT={text!r}: use a number above 0"
