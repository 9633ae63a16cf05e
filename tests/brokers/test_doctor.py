"""`otel-queue doctor` beside real workers: it sees what is there, and takes nothing away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_queue_plugins.brokers.opening import reader_of_url
from tests.brokers.operators import Operator

if TYPE_CHECKING:
    from tests.brokers.harness import App, Lab

CELERY = """
from celery import Celery
from otel_queue_plugins.celery import instrument
from tests.brokers.apps.settings import celery_settings

app = Celery("shop")
app.conf.update(celery_settings())
instrument(app)

@app.task(name="ping")
def ping():
    pass

@app.task(name="fails", ignore_result=False)
def fails():
    raise ValueError("no")
"""
DRAMATIQ = """
import dramatiq
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from otel_queue_plugins.dramatiq import instrument
from tests.brokers.apps.settings import QUEUE, RESULTS_URL, dramatiq_broker

broker = dramatiq_broker()
broker.add_middleware(Results(backend=RedisBackend(url=RESULTS_URL)))
instrument(broker)

@dramatiq.actor(queue_name=QUEUE)
def ping():
    pass

@dramatiq.actor(queue_name=QUEUE, store_results=True)
def kept():
    return 1
"""


def operator_of(lab: Lab, app: App, option: str) -> Operator:
    """The command about this app, in the environment of its worker."""
    env = lab.env("doctor", app)
    return Operator(target=[option, app.module], env=env, cwd=lab.directory)


def broken(found: object) -> dict[str, str]:
    """What is broken in a document, with what was seen, by the name of the check."""
    assert isinstance(found, dict)
    return {each["name"]: each["what"] for each in found["checks"] if each["ok"] is False}


def ready(lab: Lab, app: App, framework: str) -> int | None:
    """How many messages wait in the queue."""
    reader = reader_of_url(lab.broker.url, framework, queues=[app.queue])
    try:
        return reader.states([app.queue])[0].ready
    finally:
        reader.close()


def probe(lab: Lab, operator: Operator, task: str) -> dict[str, dict[str, Any]]:
    """Probe with a task, whose trace has to arrive; the last finding of each check."""
    done = operator("doctor", "--probe", task, "--timeout", "30s", "--json")
    document = done.document
    assert set(broken(document)) == ({"probe"} if task == "fails" else set())
    assert done.code == (task == "fails"), document
    names = {span.name for span in lab.receiver.expect_trace(document["trace_id"], 3)}
    assert names == {"doctor", f"send {task}", f"process {task}"}
    found = {each["name"]: each for each in document["checks"]}
    assert document["trace_id"] in found["probe"]["what"]
    return found


def test_doctor_of_celery(own_lab: Lab) -> None:
    """Without a worker, then with one. What is sent to nobody stays where it is."""
    app = own_lab.app(CELERY)
    operator = operator_of(own_lab, app, "-A")
    done = operator("doctor", "--probe", "ping", "--timeout", "8s", "--json")
    assert done.code == 1
    expected = {"workers", "probe", *(["queues"] if own_lab.broker.system == "rabbitmq" else [])}
    assert set(broken(done.document)) == expected
    assert "no worker has taken it within 8 s" in broken(done.document)["probe"]
    assert ready(own_lab, app, "celery") == 1
    own_lab.celery(app)
    seen = probe(own_lab, operator, "ping")
    assert "pool prefork" in seen["workers"]["what"]
    assert [seen[name]["ok"] for name in ("workers", "queues", "broker", "backend")] == [True] * 4
    assert "a worker has taken it" in seen["probe"]["what"]
    assert (
        "has ended with FAILURE: ValueError" in probe(own_lab, operator, "fails")["probe"]["what"]
    )


def test_doctor_of_dramatiq(own_lab: Lab) -> None:
    """What is enqueued before there is a worker is not taken by a look."""
    app = own_lab.app(DRAMATIQ)
    operator = operator_of(own_lab, app, "-B")
    own_lab.producer(app).run("ping.send()")
    done = operator("doctor", "--timeout", "30s", "--json")
    if own_lab.broker.system == "rabbitmq":
        assert "no consumer, 1 message waiting" in broken(done.document)["queues"]
    else:
        assert (done.code, broken(done.document)) == (0, {})
    assert ready(own_lab, app, "dramatiq") == 1
    own_lab.dramatiq(app)
    assert "a worker has taken it" in probe(own_lab, operator, "ping")["probe"]["what"]
    assert "has run and succeeded" in probe(own_lab, operator, "kept")["probe"]["what"]
