"""The alert rules, tried by promtool: each fires in its case, and is silent otherwise."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from otel_queue_plugins.cli.dashboards.command import contents
from tests.services import find_binary

if TYPE_CHECKING:
    from pathlib import Path

DEPTH: Final = (
    'taskqueue_queue_depth{messaging_destination_name="q", taskqueue_queue_state="ready"}'
)
AGE: Final = (
    'taskqueue_queue_oldest_age_seconds{messaging_destination_name="q",'
    ' taskqueue_queue_state="ready"}'
)
CONSUMED: Final = 'messaging_client_consumed_messages_total{messaging_destination_name="q"}'
ABANDONED: Final = 'taskqueue_queue_abandoned{messaging_destination_name="q"}'
DEAD: Final = (
    'taskqueue_task_dead_letters_total{messaging_destination_name="q", taskqueue_task_name="pay"}'
)
BUSY: Final = 'taskqueue_worker_in_flight{job="shop"}'
SLOTS: Final = 'taskqueue_worker_capacity{job="shop"}'
SUCCESS: Final = (
    'messaging_client_consumed_messages_total{messaging_destination_name="q",'
    ' taskqueue_task_name="pay", taskqueue_task_outcome="success"}'
)
FAILURE: Final = SUCCESS.replace("success", "failure")
LOST: Final = SUCCESS.replace("success", "lost")
MET: Final = (
    'taskqueue_slo_deliveries_total{job="shop", taskqueue_task_name="pay",'
    ' taskqueue_slo_objective="run", taskqueue_slo_met="true"}'
)
MISSED: Final = MET.replace("true", "false")
RUNNING: Final = 'taskqueue_worker_longest_running_seconds{job="shop", taskqueue_task_name="pay"}'
DROPPED: Final = (
    'taskqueue_telemetry_dropped_total{job="shop", taskqueue_telemetry_drop_reason="queue_full"}'
)
IDLE: Final = {CONSUMED: "7x60"}
GROWING: Final = {DEPTH: "3x60", AGE: "0+60x60"}

CASES: Final = {
    "nobody takes messages": (GROWING | IDLE, "QueueIsStuck"),
    "no worker was ever there": (GROWING, "QueueIsStuck"),
    "deep, and moving": ({DEPTH: "5000x60", AGE: "20x60", CONSUMED: "0+600x60"}, ""),
    "old, and slowly moving": (GROWING | {CONSUMED: "0+1x60"}, ""),
    "empty": ({DEPTH: "0x60", AGE: "0x60"} | IDLE, ""),
    "a worker was killed": ({ABANDONED: "0x10 4x50"}, "WorkersAreLost"),
    "none was": ({ABANDONED: "0x60"}, ""),
    "messages are given up": ({DEAD: "0x20 0+1x40"}, "DeadLettersGrow"),
    "none is": ({DEAD: "5x60"}, ""),
    "a pool process died": ({LOST: "0x20 1x40", SUCCESS: "0+60x60"}, "TasksAreLost"),
    "none died for long": ({LOST: "0 1x60", SUCCESS: "0+60x60"}, ""),
    "a third fails": ({FAILURE: "0+30x60", SUCCESS: "0+60x60"}, "TasksFail"),
    "a tenth fails": ({FAILURE: "0+6x60", SUCCESS: "0+60x60"}, ""),
    "an objective is missed": ({MISSED: "0+10x60", MET: "0+30x60"}, "ObjectiveBurns"),
    "one in ten misses it": ({MISSED: "0+3x60", MET: "0+30x60"}, ""),
    "it was missed before": ({MISSED: "0 500x60", MET: "0+30x60"}, ""),
    "a task hangs": ({RUNNING: "1800+120x60"}, "TaskRunsForLong"),
    "a task takes half an hour": ({RUNNING: "1800x60"}, ""),
    "spans are dropped": ({DROPPED: "0x20 0+5x40"}, "TelemetryIsDropped"),
    "some were long ago": ({DROPPED: "5x60"}, ""),
    "all slots are busy": ({BUSY: "8x60", SLOTS: "8x60"}, "WorkersAreSaturated"),
    "one is free": ({BUSY: "7x60", SLOTS: "8x60"}, ""),
}


@pytest.mark.parametrize("case", CASES)
def test_alert_fires_in_its_case_and_no_other(case: str, tmp_path: Path) -> None:
    """After half an hour of one value a minute."""
    series, alert = CASES[case]
    promtool = find_binary("promtool")
    rules = ("recording.yml", "alerts.yml")
    for name in rules:
        (tmp_path / name).write_text(contents(["prometheus"])[f"prometheus/{name}"])
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    samples = [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if alert else []
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": "30m", "exp_samples": samples}],
    }
    # Every JSON document is one of YAML.
    (tmp_path / "test.yml").write_text(json.dumps({"rule_files": list(rules), "tests": [test]}))
    found = subprocess.run(
        [promtool, "test", "rules", str(tmp_path / "test.yml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert found.returncode == 0, found.stdout + found.stderr
