"""The dashboard and the monitors for Datadog, over the metrics that it makes of OTLP.

Datadog keeps the names of OpenTelemetry, and attributes become tags. Histograms are distributions
there.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

_CONSUMED: Final = "messaging.client.consumed.messages"
_RUN: Final = "messaging.process.duration"
_FAILED: Final = "taskqueue.task.outcome IN (failure,timeout,lost,dead_letter)"
_ANY: Final = "$service AND $queue AND $task"
_OF_QUEUE: Final = "$service AND $queue"
_BY_QUEUE: Final = "by {messaging.destination.name}"
_BY_TASK: Final = "by {taskqueue.task.name}"
_BY_ERROR: Final = "by {taskqueue.task.name,error.type}"
_BY_STATE: Final = "by {messaging.destination.name,taskqueue.queue.state}"
_BY_REASON: Final = "by {taskqueue.telemetry.drop_reason}"
_VARIABLES: Final = (
    ("service", "service"),
    ("queue", "messaging.destination.name"),
    ("task", "taskqueue.task.name"),
)


class Widget(NamedTuple):
    """A time series: queries called `a`, `b`, ..., and what is drawn of them."""

    title: str
    queries: tuple[str, ...]
    formulas: tuple[str, ...] = ("a",)
    display: str = "line"


_GROUPS: Final = {
    "Overview": (
        Widget(
            "Deliveries by outcome",
            (f"sum:{_CONSUMED}{{{_ANY}}} by {{taskqueue.task.outcome}}.as_count()",),
            display="bars",
        ),
        Widget(
            "Failed, in percent of deliveries",
            (
                f"sum:{_CONSUMED}{{{_ANY} AND {_FAILED}}}.as_count()",
                f"sum:{_CONSUMED}{{{_ANY}}}.as_count()",
            ),
            ("100 * default_zero(a) / b",),
        ),
        Widget(
            "Sent and processed",
            (
                f"sum:messaging.client.sent.messages{{{_ANY}}}.as_rate()",
                f"sum:{_CONSUMED}{{{_ANY}}}.as_rate()",
            ),
            ("a", "b"),
        ),
        Widget(
            "Wait, p50 and p95",
            (f"p50:taskqueue.task.wait{{{_ANY}}}", f"p95:taskqueue.task.wait{{{_ANY}}}"),
            ("a", "b"),
        ),
    ),
    "Queues": (
        Widget(
            "Depth by state",
            (f"max:taskqueue.queue.depth{{{_OF_QUEUE}}} {_BY_STATE}",),
        ),
        Widget(
            "Age of the oldest message",
            (f"max:taskqueue.queue.oldest_age{{{_OF_QUEUE}}} {_BY_QUEUE}",),
        ),
        Widget("Wait by queue, p95", (f"p95:taskqueue.task.wait{{{_ANY}}} {_BY_QUEUE}",)),
        Widget("Consumers", (f"sum:taskqueue.queue.consumers{{{_OF_QUEUE}}} {_BY_QUEUE}",)),
        Widget(
            "Held by workers that are gone",
            (f"max:taskqueue.queue.abandoned{{{_OF_QUEUE}}} {_BY_QUEUE}",),
        ),
    ),
    "Tasks": (
        Widget("Deliveries by task", (f"sum:{_CONSUMED}{{{_ANY}}} {_BY_TASK}.as_rate()",)),
        Widget("Run by task, p95", (f"p95:{_RUN}{{{_ANY}}} {_BY_TASK}",)),
        Widget(
            "Retries by task and error",
            (f"sum:taskqueue.task.retries{{{_ANY}}} {_BY_ERROR}.as_count()",),
            display="bars",
        ),
        Widget(
            "Dead letters",
            (f"sum:taskqueue.task.dead_letters{{{_ANY}}} {_BY_TASK}.as_count()",),
            display="bars",
        ),
    ),
    "Workers": (
        Widget(
            "Slots and what runs",
            ("sum:taskqueue.worker.in_flight{$service}", "sum:taskqueue.worker.capacity{$service}"),
            ("a", "b"),
        ),
        Widget(
            "Longest running", (f"max:taskqueue.worker.longest_running{{{_OF_QUEUE}}} {_BY_TASK}",)
        ),
        Widget(
            "Dropped spans",
            (f"sum:taskqueue.telemetry.dropped{{$service}} {_BY_REASON}.as_count()",),
            display="bars",
        ),
    ),
}


class Monitor(NamedTuple):
    """A monitor: its name, what is asked, the limit, and what it says."""

    name: str
    query: str
    limit: float
    message: str


_MONITORS: Final = (
    Monitor(
        "Queue is stuck",
        "min(last_5m):min:taskqueue.queue.oldest_age{taskqueue.queue.state:ready} "
        f"{_BY_QUEUE} > 300",
        300,
        "The oldest message of {{messaging.destination.name.name}} waits for {{value}} s.",
    ),
    Monitor(
        "Workers are lost",
        f"min(last_5m):max:taskqueue.queue.abandoned{{*}} {_BY_QUEUE} > 0",
        0,
        "{{value}} messages of {{messaging.destination.name.name}} are held by dead workers.",
    ),
    Monitor(
        "Dead letters grow",
        f"sum(last_15m):sum:taskqueue.task.dead_letters{{*}} {_BY_TASK}.as_count() > 0",
        0,
        "{{taskqueue.task.name.name}} gives messages up.",
    ),
    Monitor(
        "Workers are saturated",
        "min(last_15m):sum:taskqueue.worker.in_flight{*} by {service} "
        "/ sum:taskqueue.worker.capacity{*} by {service} > 0.95",
        0.95,
        "All slots of {{service.name}} are busy.",
    ),
    Monitor(
        "Telemetry is dropped",
        "sum(last_15m):sum:taskqueue.telemetry.dropped{*} by {service}.as_count() > 0",
        0,
        "{{service.name}} could not export {{value}} spans.",
    ),
)


def dashboard() -> dict[str, Any]:
    """The body of `POST /api/v1/dashboard`."""
    return {
        "title": "Task queues",
        "description": "Celery and Dramatiq, by otel_queue_plugins",
        "layout_type": "ordered",
        "template_variables": [
            {"name": name, "prefix": tag, "available_values": [], "defaults": ["*"]}
            for name, tag in _VARIABLES
        ],
        "widgets": [_group(title, widgets) for title, widgets in _GROUPS.items()],
    }


def monitors() -> list[dict[str, Any]]:
    """Bodies of `POST /api/v1/monitor`, one each."""
    return [
        {
            "name": each.name,
            "type": "query alert",
            "query": each.query,
            "message": each.message,
            "tags": ["otel_queue_plugins"],
            "options": {"thresholds": {"critical": each.limit}, "notify_no_data": False},
        }
        for each in _MONITORS
    ]


def _group(title: str, widgets: tuple[Widget, ...]) -> dict[str, Any]:
    drawn = [{"definition": _definition(widget)} for widget in widgets]
    return {
        "definition": {
            "type": "group",
            "layout_type": "ordered",
            "title": title,
            "widgets": drawn,
        }
    }


def _definition(widget: Widget) -> dict[str, Any]:
    request = {
        "response_format": "timeseries",
        "display_type": widget.display,
        "queries": [
            {"data_source": "metrics", "name": chr(ord("a") + index), "query": query}
            for index, query in enumerate(widget.queries)
        ],
        "formulas": [{"formula": formula} for formula in widget.formulas],
    }
    return {"type": "timeseries", "title": widget.title, "requests": [request]}
