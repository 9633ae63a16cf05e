"""From what Celery knows of a request to the facts of a delivery."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from celery.utils.time import maybe_iso8601, maybe_make_aware

from otel_queue_plugins.core.carrier import propagation
from otel_queue_plugins.core.messages import Delivery, Route, Trigger, Workflow

Request = Mapping[str, Any]

MAX_NESTING: Final = 20
_LAST_OF: Final = {"celery.chord": "body", "celery.chain": "tasks"}
RECEIPT_KEY: Final = "otq"


# What the code that got a message tells the code that runs it: when (seconds since the epoch), the
# id for the span, and where that is another process the time limit of the task or the worker
# (seconds). It travels in the message's properties, which Celery neither copies on a retry nor
# takes for user headers. A plain tuple takes the main process least time to pickle.
Receipt = tuple[float | None, int | None, float | None]

NO_RECEIPT: Final[Receipt] = (None, None, None)


def carrier(request: Request) -> Mapping[str, object]:
    """Where the keys of ours are: protocol 2 has them at the top, protocol 1 in `headers`.

    Other tracers nest a `headers` of their own; the top wins (`celery.app.task.Context`).
    """
    nested = request.get("headers")
    if not isinstance(nested, dict):
        return request
    return request if any(name in request for name in propagation.carrier_keys()) else nested


def delivery(
    request: Request,
    route: Route,
    max_retries: int | None,
    receipt: Receipt = NO_RECEIPT,
    worker_pid: int | None = None,
) -> Delivery:
    """The delivery that `request` is. Values of another type than Celery's count as absent."""
    headers, place = request.get, workflow(request)
    retries, info = headers("retries"), headers("delivery_info") or {}
    priority = info.get("priority")
    received_at, span_id, _ = receipt
    root, eta, expires = headers("root_id"), headers("eta"), headers("expires")
    worker_name = headers("hostname")
    return Delivery(  # by position: names would take as long as all the rest
        route,
        str(headers("id")),
        root if type(root) is str else identity(root),
        retries + 1 if isinstance(retries, int) and retries > 0 else 1,
        None if max_retries is None else max_retries + 1,
        priority if isinstance(priority, int) else None,
        trigger(request),
        None if eta is None else timestamp(eta),
        None if expires is None else timestamp(expires),
        None,  # enqueued_at
        received_at,
        info.get("redelivered") is True,
        worker_name if isinstance(worker_name, str) else None,
        worker_pid,
        place,
        span_id,
        joined(request, request.get("chain")) if place else None,
    )


def max_retries(task: Any) -> int | None:
    """How often `task` may be tried again. A call of `Task.retry` may say something else."""
    limit = task.max_retries
    if getattr(task, "autoretry_for", None):
        told = getattr(task, "retry_kwargs", None) or {}
        limit = told.get("max_retries", limit)
    return limit if isinstance(limit, int) else None


def receipt(request: Request) -> Receipt:
    """What the receiving process said of this delivery. No broker delivers a tuple."""
    properties = request.get("properties")
    found = properties.get(RECEIPT_KEY) if isinstance(properties, dict) else None
    return found if isinstance(found, tuple) else NO_RECEIPT


def timestamp(value: object) -> float | None:
    """Seconds since the epoch of a time as Celery takes it, None if it is none.

    One without a zone is UTC, whatever the zones of app and host are (`maybe_make_aware`, which
    workers and senders read each `eta` and `expires` with).
    """
    try:
        known = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        known = None  # another form of ISO 8601, or none
    try:
        if known is None or known.tzinfo is None:
            known = maybe_make_aware(maybe_iso8601(value))
        return known.timestamp()
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None


def identity(value: object) -> str | None:
    """An id as text, None if `value` is none. Celery takes UUIDs and numbers for ids, too.

    Messages keep the type of an id (`kombu.utils.json`), so that its text is the same everywhere.
    """
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, (UUID, int)) else None


def text(value: object) -> str | None:
    """`value` if it is text, else None."""
    return value if isinstance(value, str) else None


def trigger(request: Request) -> Trigger | None:
    """Why the message was sent, as far as Celery tells; the rest its sender knows."""
    if request.get("celery_beat_task"):
        return "schedule"
    nested = request.get("headers")
    if isinstance(nested, dict) and nested.get("celery_beat_task"):
        return "schedule"
    return None


def workflow(request: Request) -> Workflow | None:
    """The place of a message in a workflow, but for the step in a chain, which its sender told."""
    group, chain = request.get("group"), request.get("chain")
    if group is None and chain is None:
        return None
    group, index = identity(group), request.get("group_index")
    if group is not None and isinstance(index, int):
        return Workflow(kind="chord" if request.get("chord") else "group", id=group, step=index)
    if isinstance(chain, list):
        found = chain_id(chain, request.get("id"))
        return None if found is None else Workflow(kind="chain", id=found)
    return None if group is None else Workflow(kind="chord", id=group)


def chain_id(chain: list[Any], own: object) -> str | None:
    """What a chain is known by: the id of its last task, the one that `chain.delay()` returns.

    `chain` are the steps after the task with the id `own`, the last one first.
    """
    return final_id(chain[0]) if chain else identity(own)


def final_id(signature: object) -> str | None:
    """The id of the task whose result is that of `signature`: of a chord or chain, the last one."""
    found: object = None
    for _ in range(MAX_NESTING):
        if not isinstance(signature, Mapping):
            break
        found = options_of(signature).get("task_id") or found
        inside = signature.get("kwargs")
        if signature.get("task") not in _LAST_OF or not isinstance(inside, Mapping):
            break
        last = inside.get(_LAST_OF[signature["task"]])
        signature = last[-1] if isinstance(last, list) and last else last
    return identity(found)


def joined(request: Request, chain: object) -> str | None:
    """The group that the body of a chord has to be told from; None for a member of one.

    If the body is a chain, Celery notes it at the last step.
    """
    if request.get("group_index") is not None:
        return None
    if isinstance(chain, list) and chain and not request.get("group"):
        return identity(options_of(chain[0]).get("group_id"))
    return identity(request.get("group"))


def options_of(signature: object) -> Mapping[str, Any]:
    """The options of a signature as it travels; none of what is no signature."""
    options = signature.get("options") if isinstance(signature, Mapping) else None
    return options if isinstance(options, Mapping) else {}
