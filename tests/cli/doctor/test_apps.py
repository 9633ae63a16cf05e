"""Apps and brokers that are not set up as they should be: Celery's and Dramatiq's."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from celery import signals

from otel_queue_plugins.brokers.answers import Unknown, queue_state
from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.celery import uninstrument
from otel_queue_plugins.cli.doctor import asking
from otel_queue_plugins.cli.doctor.asking import Answers
from tests.cli.doctor.conftest import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

    from otel_queue_plugins.brokers.facts import QueueState
    from tests.cli.doctor.conftest import Doctor

    Write = Callable[[str], str]
    Answer = Callable[..., None]

PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
ENV = {"OTEL_SERVICE_NAME": "shop", "OTEL_TRACES_EXPORTER": "console"}
CELERY = """
    from celery import Celery
    from otel_queue_plugins.celery import instrument
    app = Celery("shop", broker="redis://:s3cretTokenOfAUser@localhost:1/0", set_as_current=False)
    instrument(app)
    @app.task(name="ping", shared=False)
    def ping():
        pass
"""
DRAMATIQ = """
    import dramatiq
    from dramatiq.brokers.stub import StubBroker
    from dramatiq.middleware import Middleware
    from otel_queue_plugins.dramatiq import OpenTelemetryMiddleware, instrument
    class First(Middleware):
        pass
    broker = StubBroker()
    instrument(broker)
    @dramatiq.actor(broker=broker)
    def ping():
        pass
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module, and return its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    made: list[str] = []

    def written(source: str) -> str:
        name = f"doctor_app_{tmp_path.name.replace('-', '_')}_{len(made)}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        made.append(name)
        return name

    yield written
    uninstrument()
    for name in made:
        sys.modules.pop(name, None)


def fake_module(name: str) -> ModuleType:
    """A module of a tracer that cannot be installed here, with a receiver and a middleware."""
    from types import ModuleType

    module = ModuleType(name)
    source = """
    from dramatiq.middleware import Middleware
    def receiver(**_):
        pass
    class TheirMiddleware(Middleware):
        pass
    def wrapped(function):
        def call(*args, **kwargs):
            return function(*args, **kwargs)
        call.__wrapped__ = function
        return call
    """
    exec(textwrap.dedent(source), module.__dict__)  # noqa: S102 - a module made here
    return module


def test_app_that_is_instrumented_is_fine(doctor: Doctor, write: Write) -> None:
    """Nothing is asked of the broker, and its password is not shown."""
    found = doctor("-A", f"{write(CELERY)}:app", "--offline", **ENV)
    assert (found.code, found.broken()) == (0, {})
    assert found.of("instrumented")[0]["ok"] is True
    assert found.of("pool")[0]["what"] == "prefork, exported by each process for itself"
    assert found.of("broker") == [
        {"name": "broker", "ok": None, "what": "not asked: --offline", "fix": None}
    ]


def test_app_that_is_not_instrumented_is_broken(doctor: Doctor, write: Write) -> None:
    """With the line to add."""
    source = CELERY.replace("    instrument(app)\n", "")
    (line,) = doctor("-A", write(source), "--offline", **ENV).broken()["instrumented"]
    assert "from otel_queue_plugins.celery import instrument; instrument(app)" in line
    source = DRAMATIQ.replace("    instrument(broker)\n", "")
    (line,) = doctor("-B", f"{write(source)}:broker", "--offline", **ENV).broken()["instrumented"]
    assert "from otel_queue_plugins.dramatiq import instrument; instrument(broker)" in line


@pytest.mark.parametrize(
    ("package", "said"),
    [
        ("opentelemetry.instrumentation.celery", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=celery"),
        ("ddtrace.contrib.internal.celery", "DD_TRACE_CELERY_ENABLED=false"),
        ("sentry_sdk.integrations.celery", "without traces_sample_rate"),
    ],
)
def test_second_tracer_of_celery_is_broken(
    doctor: Doctor, write: Write, package: str, said: str
) -> None:
    """With what it means for what arrives."""
    receiver = fake_module(package).__dict__["receiver"]
    signals.task_prerun.connect(receiver, weak=False)
    try:
        found = doctor("-A", write(CELERY), "--offline", **ENV)
    finally:
        signals.task_prerun.disconnect(receiver)
    (line,) = found.broken()["other_tracers"]
    assert "traces celery, too: every message" in line
    assert said in line


def test_sentry_that_reports_errors_alone_is_fine(
    doctor: Doctor, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wraps the same functions, and makes no spans."""
    sentry = fake_module("sentry_sdk")

    class Client:
        options = {"traces_sample_rate": None, "traces_sampler": None}  # noqa: RUF012

    sentry.__dict__["get_client"] = Client
    monkeypatch.setitem(sys.modules, "sentry_sdk", sentry)
    receiver = sentry.__dict__["receiver"]
    signals.task_prerun.connect(receiver, weak=False)
    try:
        assert doctor("-A", write(CELERY), "--offline", **ENV).broken() == {}
        Client.options["traces_sample_rate"] = 0.1  # type: ignore[assignment]
        assert doctor("-A", write(CELERY), "--offline", **ENV).broken()["other_tracers"]
    finally:
        signals.task_prerun.disconnect(receiver)


def test_second_tracer_of_dramatiq_is_broken(
    doctor: Doctor, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a middleware, or around `Actor.send_with_options`."""
    import dramatiq

    sentry = fake_module("sentry_sdk.integrations.dramatiq")
    monkeypatch.setitem(sys.modules, "fake_sentry", sentry)
    source = f"{DRAMATIQ}    from fake_sentry import TheirMiddleware\n"
    source += "    broker.add_middleware(TheirMiddleware())\n"
    (line,) = doctor("-B", f"{write(source)}:broker", "--offline", **ENV).broken()["other_tracers"]
    assert "sentry-sdk traces dramatiq, too" in line
    ddtrace = fake_module("ddtrace.contrib.internal.dramatiq.patch")
    wrapped = ddtrace.__dict__["wrapped"](dramatiq.Actor.send_with_options)
    monkeypatch.setattr(dramatiq.Actor, "send_with_options", wrapped)
    found = doctor("-B", f"{write(DRAMATIQ)}:broker", "--offline", **ENV)
    (line,) = found.broken()["other_tracers"]
    assert "DD_TRACE_DRAMATIQ_ENABLED=false" in line


def test_middleware_that_is_not_first_or_twice_is_broken(doctor: Doctor, write: Write) -> None:
    """What comes before it is named."""
    target = f"{write(DRAMATIQ)}:broker"
    assert doctor("-B", target, "--offline", **ENV).broken() == {}
    late = DRAMATIQ + "    broker.middleware.insert(0, First())\n"
    (line,) = doctor("-B", f"{write(late)}:broker", "--offline", **ENV).broken()["middleware_order"]
    assert "comes after First" in line
    twice = DRAMATIQ + "    broker.add_middleware(OpenTelemetryMiddleware())\n"
    found = doctor("-B", f"{write(twice)}:broker", "--offline", **ENV)
    assert "is there 2 times" in found.broken()["middleware_order"][0]


def test_pool_of_greenlets_over_grpc_is_broken(doctor: Doctor, write: Write) -> None:
    """And a relay without forks is said to have no effect."""
    source = f"{CELERY}    app.conf.worker_pool = 'gevent'\n"
    target = ["-A", f"{write(source)}:app", "--offline"]
    grpc = {PROTOCOL: "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"}
    found = doctor(*target, OTEL_SERVICE_NAME="shop", **grpc)
    assert found.broken() == {
        "pool": [f"gevent: an export over gRPC stops all its greenlets -> {PROTOCOL}=http/protobuf"]
    }
    otlp = {"OTEL_SERVICE_NAME": "shop", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}
    assert doctor(*target, **otlp).of("pool")[0]["what"] == "gevent"
    found = doctor(*target, **otlp, OTEL_QUEUE_RELAY="on")
    assert "OTEL_QUEUE_RELAY has no effect" in found.of("pool")[0]["what"]


def test_broker_that_is_not_there_has_its_own_exit_code(doctor: Doctor, write: Write) -> None:
    """3, and what depends on it is unknown."""
    found = doctor("-A", f"{write(CELERY)}:app", **ENV)
    assert (found.code, set(found.broken())) == (3, {"broker"})
    assert {each["ok"] for each in (*found.of("queues"), *found.of("workers"))} == {None}


def state(name: str, *, ready: int = 0, consumers: int | str = "Redis does not say") -> QueueState:
    """The state of a queue on a broker that is none."""
    return queue_state(
        name,
        "redis",
        ready=ready,
        delayed=0,
        unacked=0,
        dead=0,
        oldest_age_s=0.0,
        oldest_unacked_age_s=0.0,
        abandoned=0,
        consumers=Unknown(consumers) if isinstance(consumers, str) else consumers,
    )


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Let the broker have these queues, and these workers answer."""
    reader = "otel_queue_plugins.brokers.reader.QueueReader"

    def answered(*states: QueueState, **workers: Any) -> None:
        names = {each.name: "configured" for each in states}
        monkeypatch.setattr(f"{reader}.names", lambda *_, **__: names)
        monkeypatch.setattr(f"{reader}.states", lambda *_: list(states))
        found = Answers(
            {name: each[0] for name, each in workers.items()},
            {name: each[1] for name, each in workers.items()},
        )
        monkeypatch.setattr(asking, "ask", lambda *_: found)

    return answered


def worker(version: str = "0.1.0", *queues: str, **more: Any) -> tuple[dict[str, Any], list[str]]:
    """What a worker answers, and the queues that it consumes."""
    versions = {"otel_queue_plugins": version, "celery": "5.7.0"}
    return {"versions": versions, "pool": "prefork", **more}, list(queues)


def test_workers_of_one_version_are_fine(doctor: Doctor, write: Write, answer: Answer) -> None:
    """And the queues that they consume have consumers, where the broker does not know any."""
    answer(state("orders"), one=worker("0.1.0", "orders"), two=worker("0.1.0", "orders"))
    found = doctor("-A", f"{write(CELERY)}:app", **ENV)
    assert (found.code, found.broken()) == (0, {})
    assert [each["what"] for each in found.of("queues")] == ["orders: 2 consumers"]
    assert found.of("workers")[0]["what"] == "one, two: otel_queue_plugins 0.1.0, pool prefork"


def test_workers_of_several_versions_are_broken(
    doctor: Doctor, write: Write, answer: Answer
) -> None:
    """The one to start anew is named."""
    answer(state("q"), a=worker("0.1.0", "q"), b=worker("0.1.0", "q"), c=worker("0.0.9", "q"))
    (line,) = doctor("-A", f"{write(CELERY)}:app", **ENV).broken()["workers"]
    assert "several versions of otel_queue_plugins: 0.1.0 on 2, 0.0.9 on 1 -> install" in line
    assert line.endswith("start them anew: c")


def test_worker_without_this_package_is_broken(
    doctor: Doctor, write: Write, answer: Answer
) -> None:
    """It answers, and does not know the question."""
    other = {"worker": "theirs", "versions": None}, ["q"]
    answer(state("q"), ours=worker("0.1.0", "q"), theirs=other)
    (line,) = doctor("-A", f"{write(CELERY)}:app", **ENV).broken()["workers"]
    assert line.startswith("theirs: without this package")


def test_worker_that_has_lost_spans_is_said(doctor: Doctor, write: Write, answer: Answer) -> None:
    """It is a matter of the past, so nothing is broken by it."""
    telemetry = {"dropped": {"queue_full": 3}}
    answer(state("q"), one=worker("0.1.0", "q", telemetry=telemetry))
    found = doctor("-A", f"{write(CELERY)}:app", **ENV)
    assert found.code == 0
    assert "one has dropped 3 spans since its start: queue_full 3" in found.out


@pytest.mark.parametrize(
    ("queue", "said"),
    [
        (state("orders", ready=7, consumers=0), "orders: no consumer, 7 messages waiting"),
        (state("orders"), "orders: no consumer"),
    ],
    ids=["the broker knows", "the workers know"],
)
def test_queue_without_consumers_is_broken(
    doctor: Doctor, write: Write, answer: Answer, queue: QueueState, said: str
) -> None:
    """With the command that starts a worker for it."""
    answer(queue, one=worker("0.1.0", "others"))
    module = write(CELERY)
    (line,) = doctor("-A", f"{module}:app", **ENV).broken()["queues"]
    assert line == f"{said} -> celery -A {module}:app worker -Q orders"


def test_no_worker_that_answers_is_broken(doctor: Doctor, write: Write, answer: Answer) -> None:
    """Unless the broker knows consumers, or the app has switched the answers off."""
    answer(state("q"))
    module = write(CELERY)
    assert "no worker has answered" in doctor("-A", f"{module}:app", **ENV).broken()["workers"][0]
    answer(state("q", consumers=1))
    assert doctor("-A", f"{module}:app", **ENV).code == 0
    answer(state("q"))
    silent = write(f"{CELERY}    app.conf.worker_enable_remote_control = False\n")
    assert doctor("-A", f"{silent}:app", **ENV).code == 0


def test_broker_by_url_needs_no_app(
    doctor: Doctor, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a failure of it shows no password."""
    answer(state("q", consumers=2))
    url = ["--url", f"redis://:{SECRET}@localhost/0", "--framework", "dramatiq"]
    found = doctor(*url, **ENV)
    assert (found.code, found.of("instrumented")) == (0, [])
    assert found.of("broker")[0]["what"] == "redis://localhost/0 answers"

    def fail(*_: object, **__: object) -> None:
        raise BrokerError(f"redis://:{SECRET}@localhost: no answer")

    monkeypatch.setattr("otel_queue_plugins.brokers.reader.QueueReader.names", fail)
    assert doctor(*url, **ENV).code == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--probe", "ping"], "-A or -B"),
        (["-A", "APP", "--probe", "ping", "--offline"], "--offline"),
        (["-A", "APP", "--probe", "pong"], "did you mean ping?"),
        (["-A", "APP", "--probe", "x.y"], "ping"),
        (["-B", "BROKER", "--probe", "pong"], "did you mean ping?"),
        (["--queue", "q"], "--queue goes with"),
        (["--namespace", "n"], "--namespace goes with"),
        (["-A", "no.such.module"], "-A no.such.module"),
    ],
)
def test_wrong_usage_is_one_line(
    doctor: Doctor, write: Write, arguments: list[str], said: str
) -> None:
    """Exit code 2, nothing on stdout, and nothing is asked."""
    names = {"APP": f"{write(CELERY)}:app", "BROKER": f"{write(DRAMATIQ)}:broker"}
    found = doctor(*(names.get(each, each) for each in arguments), **ENV)
    assert (found.code, found.out) == (2, "")
    assert len(found.err.splitlines()) == 1
    assert said in found.err
