"""Queries and triggers for Honeycomb, over the spans that it makes of OTLP.

A board of Honeycomb holds ids of queries, so what can be carried from one team to another are the
queries themselves.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

_TWO_HOURS: Final = 7200
_QUARTER_HOUR: Final = 900
_COUNT: Final = {"op": "COUNT"}
_PROCESSED: Final = {"column": "messaging.operation.type", "op": "=", "value": "process"}
_OUTCOME: Final = "taskqueue.task.outcome"
_TASK: Final = "taskqueue.task.name"
_QUEUE: Final = "messaging.destination.name"
_WAIT: Final = "taskqueue.task.wait"
_ENDED_BADLY: Final = {
    "column": _OUTCOME,
    "op": "in",
    "value": ["failure", "timeout", "lost", "dead_letter"],
}


class Query(NamedTuple):
    """A query with its name and what it is for."""

    name: str
    text: str
    calculations: tuple[dict[str, str], ...]
    breakdowns: tuple[str, ...]
    filters: tuple[dict[str, Any], ...] = ()


_QUERIES: Final = (
    Query("Deliveries by outcome", "What became of deliveries.", (_COUNT,), (_OUTCOME,)),
    Query(
        "Wait by queue",
        "How long messages could have run and did not, in seconds.",
        ({"op": "P95", "column": _WAIT}, {"op": "HEATMAP", "column": _WAIT}),
        (_QUEUE,),
    ),
    Query(
        "Run by task",
        "How long tasks ran, in milliseconds.",
        ({"op": "P95", "column": "duration_ms"}, _COUNT),
        (_TASK,),
    ),
    Query(
        "Failures by task and error",
        "What fails for good.",
        (_COUNT,),
        (_TASK, _OUTCOME, "error.type"),
        (_ENDED_BADLY,),
    ),
    Query(
        "Retries by task and reason",
        "What is tried again, and why.",
        (_COUNT,),
        (_TASK, "taskqueue.retry.reason"),
        ({"column": _OUTCOME, "op": "=", "value": "retry"},),
    ),
    Query(
        "Dead letters",
        "What was given up.",
        (_COUNT,),
        (_TASK, "taskqueue.dead_letter.reason"),
        ({"column": _OUTCOME, "op": "=", "value": "dead_letter"},),
    ),
    Query(
        "Late schedules",
        "How long scheduled tasks waited, in seconds.",
        ({"op": "P95", "column": _WAIT},),
        (_TASK,),
        ({"column": "taskqueue.task.trigger", "op": "=", "value": "schedule"},),
    ),
)


def queries() -> list[dict[str, Any]]:
    """Names, and bodies of `POST /1/queries/DATASET`."""
    return [
        {"name": each.name, "description": each.text, "query": _specification(each, _TWO_HOURS)}
        for each in _QUERIES
    ]


def triggers() -> list[dict[str, Any]]:
    """Bodies of `POST /1/triggers/DATASET`, without recipients."""
    dead = Query(
        "",
        "",
        (_COUNT,),
        (_TASK,),
        ({"column": _OUTCOME, "op": "=", "value": "dead_letter"},),
    )
    lost = Query("", "", (_COUNT,), (_TASK,), ({"column": _OUTCOME, "op": "=", "value": "lost"},))
    wait = Query("", "", ({"op": "P95", "column": _WAIT},), (_QUEUE,))
    return [
        _trigger("Dead letters grow", "A task gives messages up.", dead, 0),
        _trigger("Workers are lost", "Tasks ran in processes that died.", lost, 0),
        _trigger("Messages wait", "In the 95th percentile longer than five minutes.", wait, 300),
    ]


def _trigger(name: str, text: str, query: Query, limit: float) -> dict[str, Any]:
    return {
        "name": name,
        "description": text,
        "query": _specification(query, _QUARTER_HOUR),
        "threshold": {"op": ">", "value": limit},
        "frequency": _QUARTER_HOUR,
    }


def _specification(query: Query, seconds: int) -> dict[str, Any]:
    return {
        "calculations": list(query.calculations),
        "filters": [_PROCESSED, *query.filters],
        "filter_combination": "AND",
        "breakdowns": list(query.breakdowns),
        "time_range": seconds,
    }
