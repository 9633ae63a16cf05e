"""The demo's processes see the demo's settings, whatever the user's are."""

from __future__ import annotations

from otel_queue_plugins.cli.demo.brokers import DemoBroker, given
from otel_queue_plugins.cli.demo.environment import environment_for

BROKER = DemoBroker(url="redis://there", label="there", environment={"DEMO_FOLDER": "/x"})


def _environment(**base: str) -> dict[str, str]:
    return environment_for(
        "worker", endpoint="http://127.0.0.1:1", broker=BROKER, queue="shop", base=base
    )


def test_settings_of_the_user_do_not_reach_the_demo() -> None:
    """A disabled SDK, an own endpoint or a sampler would change what is shown."""
    env = _environment(
        HOME="/root",
        OTEL_SDK_DISABLED="true",
        OTEL_TRACES_SAMPLER="always_off",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://elsewhere",
        OTEL_SERVICE_NAME="mine",
    )
    assert env["HOME"] == "/root"
    assert env["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:1"
    assert env["OTEL_SERVICE_NAME"] == "worker"
    assert not {"OTEL_SDK_DISABLED", "OTEL_TRACES_SAMPLER"} & set(env)
    assert "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" not in env


def test_what_a_backend_needs_reaches_the_demo() -> None:
    """Its own resource attributes, and the temporality some backends insist on."""
    env = _environment(
        OTEL_RESOURCE_ATTRIBUTES="team=x", OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE="delta"
    )
    assert env["OTEL_RESOURCE_ATTRIBUTES"] == "team=x,service.namespace=otel-queue-demo"
    assert env["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"] == "delta"


def test_a_proxy_does_not_get_in_between() -> None:
    """The receiver is on this machine."""
    assert _environment(NO_PROXY="internal")["NO_PROXY"] == "internal,127.0.0.1"
    assert _environment()["no_proxy"] == "127.0.0.1"


def test_the_processes_find_the_broker() -> None:
    """By variables of the demo's own."""
    env = _environment()
    assert (env["DEMO_BROKER_URL"], env["DEMO_QUEUE"]) == ("redis://there", "shop")
    assert env["DEMO_FOLDER"] == "/x"


def test_passwords_are_not_shown() -> None:
    """A label is printed, a URL is used."""
    broker = given("amqp://user:secret@host:5672/vhost")
    assert broker.label == "amqp://host:5672/vhost"
    assert broker.url == "amqp://user:secret@host:5672/vhost"
