"""The arguments of a task, where values of them are to be on its spans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_queue_plugins.core.policy.arguments import Arguments


def of_call(task: Any, args: Any, kwargs: Any) -> Arguments:
    """Return the arguments that `task` is called with."""
    return Arguments(args or (), kwargs or {}, getattr(task, "run", None))


def of_body(app: Any, name: str, body: Any) -> Arguments | None:
    """Return the arguments in the body of a message of `name`; None if it has none."""
    task = dict.get(app._tasks, name)  # noqa: SLF001 - `tasks` would finalize the app
    if isinstance(body, Mapping):  # protocol 1
        return of_call(task, body.get("args"), body.get("kwargs"))
    if isinstance(body, (tuple, list)) and len(body) >= 2:  # noqa: PLR2004 - args, kwargs, ...
        return of_call(task, body[0], body[1])
    return None


def of_request(task: Any, request: Mapping[str, Any]) -> Arguments | None:
    """Return the arguments in a request that Celery has decoded; None if it has not."""
    if "args" not in request:
        return None
    return of_call(task, request.get("args"), request.get("kwargs"))
