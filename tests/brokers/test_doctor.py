"""`otel-queue doctor` beside real workers: it sees what is there, and takes nothing away."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

@app.task(name="kept", ignore_result=False)
def kept():
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

@dramatiq.actor(queue_name=QUEUE, max_retries=0, store_results=True)
def fails():
    raise ValueError("no")
"""
SECONDS = "30s"


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


def probe(lab: Lab, operator: Operator, task: str) -> str:
    """Probe with a task, whose trace has to arrive; what the finding says."""
    done = operator("doctor", "--probe", task, "--timeout", SECONDS, "--json")
    document = done.document
    (found,) = [each for each in document["checks"] if each["name"] == "probe"]
    assert found["ok"] is (task != "fails"), found
    assert done.code == (task == "fails"), document
    names = {span.name for span in lab.receiver.expect_trace(document["trace_id"], 3)}
    assert names == {"doctor", f"send {task}", f"process {task}"}
    assert document["trace_id"] in found["what"]
    return str(found["what"])


def test_doctor_of_celery(own_lab: Lab) -> None:
    """Without a worker, then with one, and with tasks that are sent to it."""
    app = own_lab.app(CELERY)
    own_lab.producer(app).run("ping.delay()")
    operator = operator_of(own_lab, app, "-A")
    done = operator("doctor", "--json", "--timeout", SECONDS)
    assert done.code == 1
    where = "queues" if own_lab.broker.system == "rabbitmq" else "workers"
    assert where in broken(done.document)
    assert ready(own_lab, app, "celery") == 1
    own_lab.celery(app)
    document = operator.json("doctor", "--timeout", SECONDS)
    seen = {each["name"]: each for each in document["checks"]}
    assert seen["workers"]["ok"] is True
    assert "pool prefork" in seen["workers"]["what"]
    assert (seen["queues"]["ok"], seen["broker"]["ok"]) == (True, True)
    assert seen["backend"]["ok"] is True
    assert "a worker has taken it" in probe(own_lab, operator, "ping")
    assert "has run and succeeded" in probe(own_lab, operator, "kept")
    assert "has ended with FAILURE: ValueError" in probe(own_lab, operator, "fails")


def test_doctor_of_dramatiq(own_lab: Lab) -> None:
    """Without a worker, then with one, and with messages that are sent to it."""
    app = own_lab.app(DRAMATIQ)
    own_lab.producer(app).run("ping.send()")
    operator = operator_of(own_lab, app, "-B")
    done = operator("doctor", "--json", "--timeout", SECONDS)
    if own_lab.broker.system == "rabbitmq":
        assert "no consumer, 1 messages wait" in broken(done.document)["queues"]
    else:
        assert (done.code, broken(done.document)) == (0, {})
    assert ready(own_lab, app, "dramatiq") == 1
    own_lab.dramatiq(app)
    assert broken(operator.json("doctor", "--timeout", SECONDS)) == {}
    assert "a worker has taken it" in probe(own_lab, operator, "ping")
    assert "has run and succeeded" in probe(own_lab, operator, "kept")
    assert "fails has failed: ValueError" in probe(own_lab, operator, "fails")


def test_probe_without_a_worker_waits_no_longer_than_it_is_told(own_lab: Lab) -> None:
    """It is broken, and the message stays where it was sent."""
    app = own_lab.app(CELERY)
    operator = operator_of(own_lab, app, "-A")
    done = operator("doctor", "--probe", "ping", "--timeout", "3s", "--json")
    assert done.code == 1
    assert "no worker has taken it" in broken(done.document)["probe"]
    assert ready(own_lab, app, "celery") == 1
