"""The dashboard for Grafana, over Prometheus."""

from __future__ import annotations

from typing import Any, Final

from otel_queue_plugins.cli.dashboards.panels import OF_QUEUE, Panel, Query
from otel_queue_plugins.cli.dashboards.queue_rows import OVERVIEW, QUEUES
from otel_queue_plugins.cli.dashboards.task_rows import TASKS, TELEMETRY, WORKERS

ROWS: Final = (OVERVIEW, QUEUES, TASKS, WORKERS, TELEMETRY)
_WIDTH: Final = 24
_SIZES: Final = {"stat": (4, 4), "timeseries": (12, 8)}
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_CONSUMED: Final = "messaging_client_consumed_messages_total"
_VARIABLES: Final = (
    ("job", "Service", f"label_values({_CONSUMED}, job)"),
    (
        "queue",
        "Queue",
        f'label_values({_CONSUMED}{{job=~"$job"}}, messaging_destination_name)',
    ),
    (
        "task",
        "Task",
        f"label_values({_CONSUMED}{{{OF_QUEUE}}}, taskqueue_task_name)",
    ),
)


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports and provisions it."""
    return {
        "uid": "otel-queue",
        "title": "Task queues",
        "tags": ["opentelemetry", "celery", "dramatiq"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_source(), *(_variable(*each) for each in _VARIABLES)]},
        "panels": _panels(),
    }


def _source() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
    }


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panels() -> list[dict[str, Any]]:
    """Rows below one another, and their panels from left to right."""
    made: list[dict[str, Any]] = []
    top = 0
    for row in ROWS:
        place = {"x": 0, "y": top, "w": _WIDTH, "h": 1}
        made.append({"id": len(made) + 1, "type": "row", "title": row.title, "gridPos": place})
        left, top, height = 0, top + 1, 0
        for panel in row.panels:
            wide, high = _SIZES[panel.kind]
            if left + wide > _WIDTH:
                left, top, height = 0, top + height, 0
            place = {"x": left, "y": top, "w": wide, "h": high}
            made.append(_panel(len(made) + 1, panel) | {"gridPos": place})
            left, height = left + wide, max(height, high)
        top += height
    return made


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.kind == "timeseries":
        defaults["custom"] = {"fillOpacity": 10, "showPoints": "never"}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel.kind),
        "targets": [_target(index, query) for index, query in enumerate(panel.queries)],
    }


def _options(kind: str) -> dict[str, Any]:
    if kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "graphMode": "area"}
    return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}


def _target(index: int, query: Query) -> dict[str, Any]:
    return {
        "refId": chr(ord("A") + index),
        "datasource": _SOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "exemplar": query.exemplar,
    }
