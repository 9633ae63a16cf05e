"""What a backend shows spans by: the few attributes that it needs besides those of all spans.

The sources are the documentation of each backend, and for Datadog the code of its Agent, which lets
`operation.name`, `resource.name` and `span.type` name a span.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.api.recorder import Value
from otel_queue_plugins.core.bounds import bounded
from otel_queue_plugins.core.messages import Route

PROFILES: Final = ("datadog", "honeycomb", "newrelic", "sentry", "tempo", "xray")

# X-Ray finds traces by annotations alone.
_ANNOTATIONS: Final = (
    semconv.TASK_NAME,
    semconv.MESSAGING_DESTINATION_NAME,
    semconv.TASK_OUTCOME,
    semconv.TASK_ATTEMPT,
)
_SENTRY_OPERATIONS: Final = {"send": "queue.publish", "process": "queue.process"}


def attributes(profile: str, operation: str, framework: str, route: Route) -> dict[str, Value]:
    """What the spans of an operation, `send` or `process`, have for the backend of `profile`.

    Empty for a backend that needs nothing, and without one ("").
    """
    build = _BUILDERS.get(profile)
    return {} if build is None else build(operation, framework, route)


def wait_attributes(profile: str, wait: float) -> dict[str, Value]:
    """What a process span has for how long its message waited, in seconds."""
    return {semconv.SENTRY_RECEIVE_LATENCY: wait * 1000} if profile == "sentry" else {}


def _datadog(operation: str, framework: str, route: Route) -> dict[str, Value]:
    return {
        semconv.DATADOG_OPERATION: f"{framework}.{operation}",
        semconv.DATADOG_RESOURCE: bounded(route.task),
        semconv.DATADOG_TYPE: "worker",
    }


def _sentry(operation: str, _framework: str, _route: Route) -> dict[str, Value]:
    return {semconv.SENTRY_OPERATION: _SENTRY_OPERATIONS[operation]}


def _tempo(operation: str, _framework: str, route: Route) -> dict[str, Value]:
    """What the service graph calls the other side of a send that it cannot pair."""
    if operation != "send":
        return {}
    return {semconv.PEER_SERVICE: bounded(route.destination)}


def _xray(_operation: str, _framework: str, _route: Route) -> dict[str, Value]:
    return {semconv.XRAY_ANNOTATIONS: _ANNOTATIONS}


_BUILDERS: Final[dict[str, Callable[[str, str, Route], dict[str, Value]]]] = {
    "datadog": _datadog,
    "sentry": _sentry,
    "tempo": _tempo,
    "xray": _xray,
}
