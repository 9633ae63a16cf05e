"""Translate a request, as Celery has it, into a delivery."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from celery.utils.time import maybe_iso8601, maybe_make_aware

from otel_queue_plugins.core.carrier import propagation
from otel_queue_plugins.core.messages import Delivery, Part, Route, Trigger, Workflow

Request = Mapping[str, Any]

MAX_NESTING: Final = 20
UNLOCK_CHORD: Final = "celery.chord_unlock"
_LAST_OF: Final = {"celery.chord": "body", "celery.chain": "tasks"}
RECEIPT_KEY: Final = "otq"


# What the main process passes to the code that runs a task: when the message was received (seconds
# since the epoch), the id for the process span and, if the task runs in another process, the time
# limit of the task or the worker (seconds). It is in the properties of the message, which Celery
# neither copies on a retry nor takes for user headers. A plain tuple is pickled fastest.
Receipt = tuple[float | None, int | None, float | None]

NO_RECEIPT: Final[Receipt] = (None, None, None)


def carrier(request: Request) -> Mapping[str, object]:
    """Return the carrier of a message: `request` itself in protocol 2, its `headers` in protocol 1.

    Other tracers put `headers` into a message of protocol 2, too. Then keys in `request` win, as in
    `celery.app.task.Context`.
    """
    nested = request.get("headers")
    if not isinstance(nested, dict):
        return request
    return request if any(name in request for name in propagation.carrier_keys()) else nested


def to_delivery(
    request: Request,
    route: Route,
    max_retries: int | None,
    receipt: Receipt = NO_RECEIPT,
    worker_pid: int | None = None,
) -> Delivery:
    """Return the delivery of `request`. A value of a type that Celery does not use is left out."""
    get, in_workflow = request.get, workflow(request)
    retries, info = get("retries"), get("delivery_info") or {}
    priority = info.get("priority")
    received_at, span_id, _ = receipt
    root, eta, expires = get("root_id"), get("eta"), get("expires")
    worker_name = get("hostname")
    return Delivery(  # by position: names would take as long as all the rest
        route,
        str(get("id")),
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
        in_workflow,
        span_id,
        joined_group(request, request.get("chain")) if in_workflow else None,
        None,  # batch
        None,  # arguments
        part(request, route.task) if in_workflow or route.task == UNLOCK_CHORD else None,
    )


def max_retries(task: Any) -> int | None:
    """Return how often `task` may be retried; None without a limit.

    A call of `Task.retry` may set another limit.
    """
    limit = task.max_retries
    if getattr(task, "autoretry_for", None):
        retry_options = getattr(task, "retry_kwargs", None) or {}
        limit = retry_options.get("max_retries", limit)
    return limit if isinstance(limit, int) else None


def receipt(request: Request) -> Receipt:
    """Return the receipt of a delivery, `NO_RECEIPT` without one."""
    properties = request.get("properties")
    value = properties.get(RECEIPT_KEY) if isinstance(properties, dict) else None
    # No broker delivers a tuple, so that a sender cannot forge one.
    return value if isinstance(value, tuple) else NO_RECEIPT


def timestamp(value: object) -> float | None:
    """Return the seconds since the epoch of a time in a form Celery accepts; None for other values.

    A time without a zone is in UTC, whatever the zones of app and host are: `maybe_make_aware`,
    with which Celery reads each `eta` and `expires`, takes it so.
    """
    try:
        parsed = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        parsed = None  # another form of ISO 8601, or no time
    try:
        if parsed is None or parsed.tzinfo is None:
            parsed = maybe_make_aware(maybe_iso8601(value))
        return parsed.timestamp()
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None


def identity(value: object) -> str | None:
    """Return an id as text; None if `value` is not an id. An id may also be a UUID or a number.

    Messages keep the type of an id (`kombu.utils.json`), so that its text is the same everywhere.
    """
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, (UUID, int)) else None


def text(value: object) -> str | None:
    """Return `value` if it is text, else None."""
    return value if isinstance(value, str) else None


def trigger(request: Request) -> Trigger | None:
    """Return `schedule` for a message of beat; None for others: the envelope has their trigger."""
    if request.get("celery_beat_task"):
        return "schedule"
    nested = request.get("headers")
    if isinstance(nested, dict) and nested.get("celery_beat_task"):
        return "schedule"
    return None


def workflow(request: Request) -> Workflow | None:
    """Return the place of a message in a workflow; None if it is in none.

    The step in a chain is left out: it is in the envelope.
    """
    group, chain = request.get("group"), request.get("chain")
    if group is None and chain is None:
        return None
    group, index = identity(group), request.get("group_index")
    if group is not None and isinstance(index, int):
        return Workflow(kind="chord" if request.get("chord") else "group", id=group, step=index)
    if isinstance(chain, list):
        last = chain_id(chain, request.get("id"))
        return None if last is None else Workflow(kind="chain", id=last)
    return None if group is None else Workflow(kind="chord", id=group)


def part(request: Request, task: str) -> Part | None:
    """Return what a message is in its workflow, as `Delivery.part`.

    The task that looks whether the header of a chord is complete is counted with its members.
    """
    chain = request.get("chain")
    if task == UNLOCK_CHORD or is_counted(request.get("chord"), chain):
        return "member"
    return "step" if chain else None


def is_counted(chord: object, chain: object) -> bool:
    """Whether a message is a member of a chord, or the last of the steps that follow is one.

    `chord` is the body of the chord, `chain` are the steps, the last one first.
    """
    steps = isinstance(chain, list) and chain
    return bool(chord) or bool(steps and options_of(steps[0]).get("chord"))


def chain_id(chain: list[Any], own: object) -> str | None:
    """Return the id of a chain: that of its last task, which `chain.delay()` returns.

    `chain` are the steps after the task with the id `own`, the last one first.
    """
    return final_id(chain[0]) if chain else identity(own)


def final_id(signature: object) -> str | None:
    """Return the id of the task whose result `signature` has: the last of a chord or chain."""
    task_id: object = None
    for _ in range(MAX_NESTING):
        if not isinstance(signature, Mapping):
            break
        task_id = options_of(signature).get("task_id") or task_id
        inside = signature.get("kwargs")
        if signature.get("task") not in _LAST_OF or not isinstance(inside, Mapping):
            break
        last = inside.get(_LAST_OF[signature["task"]])
        signature = last[-1] if isinstance(last, list) and last else last
    return identity(task_id)


def joined_group(request: Request, chain: object) -> str | None:
    """Return the id of the group that a message may join as the body of a chord; None for members.

    If the body is a chain, Celery has that id in the options of the last step.
    """
    if request.get("group_index") is not None:
        return None
    if isinstance(chain, list) and chain and not request.get("group"):
        return identity(options_of(chain[0]).get("group_id"))
    return identity(request.get("group"))


def options_of(signature: object) -> Mapping[str, Any]:
    """Return the options of a serialized signature; none for other values."""
    options = signature.get("options") if isinstance(signature, Mapping) else None
    return options if isinstance(options, Mapping) else {}
