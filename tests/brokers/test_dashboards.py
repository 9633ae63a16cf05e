"""The panels of the dashboard show what real workers did; the rules record what they say."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.parse
from typing import TYPE_CHECKING, Any, Final

import pytest

from otel_queue_plugins.cli.dashboards.command import contents
from tests.http_client import NO_PROXY, Client
from tests.services import find_binary, free_port, prometheus_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.brokers.harness import Lab

CELERY: Final = """
import os
import time
from celery import Celery, chain
from otel_queue_plugins.celery import instrument
from tests.brokers.apps.settings import celery_settings

app = Celery("shop")
schedule = {name: {"task": name, "schedule": 1.0} for name in ("ok", "flow")}
app.conf.update(celery_settings(), beat_schedule=schedule)
instrument(app)

@app.task(name="ok")
def ok(n=0):
    pass

@app.task(name="flow")
def flow():
    chain(ok.si(), ok.si()).delay()

@app.task(name="wrong")
def wrong():
    ok.delay()
    try:
        ok.delay(object())
    except Exception:
        raise ValueError("no message is made of this")

@app.task(name="again", bind=True, max_retries=3, default_retry_delay=0)
def again(self):
    if self.request.retries < 1:
        raise self.retry()

@app.task(name="nap")
def nap(seconds):
    time.sleep(seconds)
"""
DRAMATIQ: Final = "tests.brokers.apps.http_dramatiq"
VARIABLES: Final = {
    "$job": ".*",
    "$queue": ".*",
    "$task": ".*",
    "$__rate_interval": "1m",
    "$__range": "5m",
}


def queries() -> Iterator[tuple[str, str]]:
    """The title of each panel with each of its queries, as Grafana sends them."""
    board = json.loads(contents(["grafana"])["grafana/otel-queue.json"])
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            yield panel["title"], expression


@pytest.mark.parametrize("own_broker", ["redis"], indirect=True)
def test_each_query_of_the_dashboard_has_an_answer(own_lab: Lab, tmp_path: Path) -> None:
    """From a Prometheus that scrapes one worker of each framework."""
    ports = free_port(), free_port()
    env = {
        "OTEL_QUEUE_STATE": "on",
        "OTEL_QUEUE_STATE_INTERVAL": "1",
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_QUEUE_SLO": "default:run<1ms",
        # Nobody listens there, so that spans are dropped.
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:{free_port()}/v1/traces",
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "1",
    }
    shop, actors = own_lab.app(CELERY), own_lab.module(DRAMATIQ)
    own_lab.celery(
        shop, env=env | {"OTEL_EXPORTER_PROMETHEUS_PORT": str(ports[0])}, arguments=["-B"]
    )
    own_lab.dramatiq(
        actors, processes=1, env=env | {"OTEL_EXPORTER_PROMETHEUS_PORT": str(ports[1])}
    )
    with prometheus_server(tmp_path, *ports) as url:
        for port in ports:
            Client(port).until("/metrics", 200, timeout=40)
        own_lab.producer(shop).run(
            "again.delay(); wrong.delay(); ok.apply_async(expires=-1); nap.delay(60)"
        )
        own_lab.producer(actors).run("fail.send(); ok.send()")
        deadline = time.monotonic() + 60
        left = list(queries())
        while left and time.monotonic() < deadline:
            left = [each for each in left if not ask(url, each[1])]
            time.sleep(0.2)
        assert [each[0] for each in left] == []


def ask(url: str, expression: str) -> list[Any]:
    """What Prometheus answers now, without what is no number."""
    address = f"{url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with NO_PROXY.open(address, timeout=30) as answer:
        rows: list[Any] = json.load(answer)["data"]["result"]
    return [row for row in rows if row["value"][1] != "NaN"]


CONSUMED: Final = "messaging_client_consumed_messages_total"
LABELS: Final = 'job="shop", messaging_destination_name="q", taskqueue_task_name="pay"'
RECORDED: Final = {
    'taskqueue:failures:ratio_rate5m{job="shop"}': 0.25,
    'taskqueue:saturation:ratio{job="shop"}': 0.5,
    'sum(taskqueue:deliveries:rate5m{job="shop"})': 4.0,
}


def test_recording_rules_record_what_they_say(tmp_path: Path) -> None:
    """Of one task of which a quarter fails, three a second succeed, and half of the slots run."""
    (tmp_path / "rules.yml").write_text(contents(["prometheus"])["prometheus/recording.yml"])
    series = {
        f'{CONSUMED}{{{LABELS}, taskqueue_task_outcome="success"}}': "0+180x30",
        f'{CONSUMED}{{{LABELS}, taskqueue_task_outcome="timeout"}}': "0+60x30",
        'taskqueue_worker_in_flight{job="shop", taskqueue_task_name="pay"}': "4x30",
        'taskqueue_worker_capacity{job="shop"}': "8x30",
    }
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                # Without the labels that the rules have kept.
                "expr": f"sum({name})",
                "eval_time": "20m",
                "exp_samples": [{"labels": "{}", "value": value}],
            }
            for name, value in RECORDED.items()
        ],
    }
    (tmp_path / "test.yml").write_text(json.dumps({"rule_files": ["rules.yml"], "tests": [test]}))
    command = [find_binary("promtool"), "test", "rules", str(tmp_path / "test.yml")]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 0, found.stdout + found.stderr
