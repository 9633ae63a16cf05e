"""`OTEL_TRACES_SAMPLER=taskqueue` in real senders and workers: what arrives at the backend."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.brokers.harness import Lab

REASON = "taskqueue.sampling.reason"
SAMPLED = {
    "OTEL_TRACES_SAMPLER": "taskqueue",
    "OTEL_TRACES_SAMPLER_ARG": "task:charge=1.0;task:coin=0.5;default=0;keep=errors,retries",
}
TASKS = """
from opentelemetry import trace

def work(name):
    with trace.get_tracer("app").start_as_current_span(f"work of {name}"):
        pass

def fail():
    work("fail")
    raise ValueError("no")
"""
CELERY = f"""
from celery import Celery
from otel_queue_plugins.celery import instrument
from tests.brokers.apps.settings import celery_settings
{TASKS}
app = Celery("shop")
app.conf.update(celery_settings())
instrument(app)

for name in ("charge", "coin", "audit"):
    def run(name=name):
        work(name)
    app.task(name=name)(run)
app.task(name="fail")(fail)

@app.task(name="die")
def die():
    import os
    os._exit(9)

@app.task(name="again", bind=True, max_retries=1, default_retry_delay=0)
def again(self):
    if not self.request.retries:
        raise self.retry(exc=ValueError("not yet"))

def send(name):
    app.tasks[name].delay()
"""
DRAMATIQ = f"""
import dramatiq
from otel_queue_plugins.dramatiq import instrument
from tests.brokers.apps.settings import QUEUE, dramatiq_broker
{TASKS}
broker = dramatiq_broker()
instrument(broker)

for name in ("charge", "coin", "audit"):
    dramatiq.actor(lambda name=name: work(name), actor_name=name, queue_name=QUEUE)
dramatiq.actor(fail, actor_name="fail", queue_name=QUEUE, max_retries=0)
tries = []

@dramatiq.actor(actor_name="again", queue_name=QUEUE, max_retries=1, min_backoff=1)
def again():
    tries.append(1)
    if len(tries) == 1:
        raise ValueError("not yet")

def send(name):
    broker.get_actor(name).send()
"""
COINS, AUDITS = 40, 5


@pytest.mark.parametrize("own_broker", ["redis"], indirect=True)
@pytest.mark.parametrize("relay", ["off", "on"])
def test_rules_and_kept_deliveries_of_celery(own_lab: Lab, relay: str) -> None:
    """Nothing but the environment; also where one process exports for all of the worker.

    With that a process may die: what it recorded before has been handed over.
    """
    app = own_lab.app(CELERY)
    worker = own_lab.celery(app, env={**SAMPLED, "OTEL_QUEUE_RELAY": relay})
    check(own_lab, app, worker, ENDINGS + [("process die", "error")] * (relay == "on"))


@pytest.mark.parametrize("own_broker", ["redis"], indirect=True)
def test_rules_and_kept_deliveries_of_dramatiq(own_lab: Lab) -> None:
    """The same."""
    app = own_lab.app(DRAMATIQ)
    check(own_lab, app, own_lab.dramatiq(app, env=SAMPLED), ENDINGS)


ENDINGS = [("process again", "retry"), ("process fail", "error"), ("work of fail", "error")]


def check(lab: Lab, app, worker, kept: list[tuple[str, str]]) -> None:
    """Send messages from a script, end the worker, and look at all that has arrived."""
    names = ["charge"] * 3 + ["coin"] * COINS + ["audit"] * AUDITS + ["fail", "again"]
    names += ["die"] * any("die" in name for name, _ in kept)
    source = f"from {app.module} import send\nfor name in {names}:\n    send(name)\n"
    assert lab.script(source, app=app, env=SAMPLED).wait(30) == 0
    receiver, total = lab.receiver, len(names) + 1
    consumed = "messaging.client.consumed.messages"
    receiver.until(lambda: receiver.total(consumed) >= total, "all deliveries", 30)
    assert worker.stop(signal.SIGTERM) == 0
    assert receiver.total(consumed) == total
    spans = receiver.spans()
    marked = [(span.name, span.attributes[REASON]) for span in spans if REASON in span.attributes]
    assert sorted(marked) == sorted(kept)
    assert {span.trace_state for span in spans if REASON in span.attributes} == {""}
    sampled = [span for span in spans if REASON not in span.attributes]
    of_task = {name: [span for span in sampled if span.name.endswith(name)] for name in set(names)}
    assert sorted(span.name for span in of_task["charge"]) == sorted(
        ["send charge", "process charge", "work of charge"] * 3
    )
    assert {span.trace_state for span in of_task["charge"]} == {"ot=th:0"}
    coins = of_task["coin"]
    assert {span.trace_state for span in coins} == {"ot=th:8"}
    assert 0 < len(coins) < 3 * COINS
    assert len(coins) == 3 * len({span.trace_id for span in coins})
    assert not any(of_task[name] for name in set(names) - {"charge", "coin"})
