"""From what Celery knows of a request to the facts of a delivery."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from otel_queue_plugins.core import propagation
from otel_queue_plugins.core.messages import Delivery, Route, Trigger, Workflow

Request = Mapping[str, Any]

RECEIPT_KEY: Final = "otq"


class Receipt(NamedTuple):
    """What the process that got a message tells the one that runs it.

    It travels in the message's properties, which Celery neither copies on a retry nor takes for
    user headers. `at` is in seconds since the epoch, `time_limit` (seconds) the one that the main
    process enforces by killing.
    """

    at: float
    span_id: int
    time_limit: float | None = None


def carrier(request: Request) -> Mapping[str, object]:
    """Where the keys of ours are: protocol 2 has them at the top, protocol 1 in `headers`.

    Other tracers nest a `headers` of their own; the top wins (`celery.app.task.Context`).
    """
    nested = request.get("headers")
    if nested is None or not isinstance(nested, Mapping):
        return request
    return request if any(name in request for name in propagation.fields()) else nested


def delivery(
    request: Request,
    route: Route,
    max_retries: int | None,
    receipt: Receipt | None,
    worker_pid: int | None = None,
) -> Delivery:
    """The delivery that `request` is. Values of another type than Celery's count as absent."""
    headers = request.get
    retries = headers("retries")
    info = headers("delivery_info") or {}
    priority = info.get("priority")
    eta, expires = headers("eta"), headers("expires")
    return Delivery(
        route=route,
        id=str(headers("id")),
        conversation_id=text(headers("root_id")),
        attempt=retries + 1 if isinstance(retries, int) else 1,
        max_attempts=None if max_retries is None else max_retries + 1,
        priority=priority if isinstance(priority, int) else None,
        trigger=trigger(request),
        eta=None if eta is None else timestamp(eta),
        expires_at=None if expires is None else timestamp(expires),
        received_at=receipt.at if receipt else None,
        redelivered=info.get("redelivered") is True,
        worker_name=text(headers("hostname")),
        worker_pid=worker_pid,
        workflow=workflow(request),
        span_id=receipt.span_id if receipt else None,
    )


def max_retries(task: Any) -> int | None:
    """How often `task` may be tried again. A call of `Task.retry` may say something else."""
    if getattr(task, "autoretry_for", None):
        told = getattr(task, "retry_kwargs", None) or {}
        if isinstance(told.get("max_retries"), int):
            return int(told["max_retries"])
    limit = task.max_retries
    return limit if isinstance(limit, int) else None


def receipt(request: Request) -> Receipt | None:
    """What the receiving process said of this delivery, if it said anything."""
    properties = request.get("properties")
    found = properties.get(RECEIPT_KEY) if isinstance(properties, Mapping) else None
    return found if isinstance(found, Receipt) else None


def timestamp(value: object) -> float | None:
    """Seconds since the epoch of an ISO 8601 string, or None if it is none."""
    try:
        return datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def text(value: object) -> str | None:
    """`value` if it is text, else None."""
    return value if isinstance(value, str) else None


def trigger(request: Request) -> Trigger | None:
    """Why the message was sent, as far as Celery tells; the rest its sender knows."""
    nested = request.get("headers")
    if request.get("celery_beat_task") or (
        isinstance(nested, Mapping) and nested.get("celery_beat_task")
    ):
        return "schedule"
    return None


def workflow(request: Request) -> Workflow | None:
    """The group or chord a message is a member of; a body has its chord's id, but no index."""
    group = request.get("group")
    if not isinstance(group, str):
        return None
    index = request.get("group_index")
    member = isinstance(index, int)
    kind = "group" if member and not request.get("chord") else "chord"
    return Workflow(kind=kind, id=group, step=index if member else None)
