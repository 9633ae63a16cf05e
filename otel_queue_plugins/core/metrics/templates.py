"""What can be known of all messages of a route before the first one."""

from __future__ import annotations

from typing import Final

from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.api.recorder import Value
from otel_queue_plugins.core.bounds import bounded
from otel_queue_plugins.core.messages import Outcome, Route
from otel_queue_plugins.core.metrics.tally import Cell, Tally

MAX_ROUTES: Final = 4096
MAX_SERIES_OF_ROUTE: Final = 256
ROUTE_ATTRIBUTES: Final = (
    semconv.MESSAGING_SYSTEM,
    semconv.MESSAGING_DESTINATION_NAME,
    semconv.TASK_NAME,
)


# What nearly all have, so that a copy seldom has to grow.
_OF_SENDS: Final[dict[str, Value]] = {
    semconv.MESSAGING_MESSAGE_ID: "",
    semconv.MESSAGING_CONVERSATION_ID: "",
}
_OF_DELIVERIES: Final[dict[str, Value]] = {
    semconv.MESSAGING_MESSAGE_ID: "",
    semconv.TASK_TRIGGER: "call",
    semconv.TASK_ATTEMPT: 1,
    semconv.PROCESS_PID: 0,
}


class Series:
    """Where one kind of ending is counted, and the attributes its durations are recorded with."""

    __slots__ = ("attributes", "cell")

    def __init__(self, cell: Cell, attributes: dict[str, Value]) -> None:
        self.cell = cell
        self.attributes = attributes


class RouteTemplate:
    """Span names, attributes and series of one route.

    `send` and `process` have the attributes of a span in its message's first attempt: what differs
    is to be replaced.
    """

    __slots__ = (
        "_process_success_series",
        "_send_success_series",
        "_series",
        "base",
        "process",
        "process_name",
        "receive",
        "route",
        "send",
        "send_name",
    )

    def __init__(self, route: Route, framework: str, span_name: str) -> None:
        target = bounded(route.destination if span_name == "queue" else route.task)
        self.route = route
        self.send_name = f"send {target}"
        self.process_name = f"process {target}"
        shared = _span_attributes(route, framework)
        self.send = _operation("send") | shared | _OF_SENDS
        self.receive = _operation("process") | shared
        self.process = self.receive | _OF_DELIVERIES | _function(route)
        self.base = _metric_attributes(route)
        self._series: dict[tuple[str, str | None], Series] = {}
        self._send_success_series: Series | None = None
        self._process_success_series: Series | None = None

    def send_success_series(self, tally: Tally) -> Series:
        """The series of messages that were sent."""
        if self._send_success_series is None:
            self._send_success_series = self.sent(tally, None)
        return self._send_success_series

    def process_success_series(self, tally: Tally) -> Series:
        """The series of deliveries that ended with success."""
        if self._process_success_series is None:
            self._process_success_series = self.consumed(tally, Outcome.SUCCESS, None)
        return self._process_success_series

    def sent(self, tally: Tally, error_type: str | None) -> Series:
        """The series of messages sent; `error_type` None where that worked."""
        found = self._series.get(("send", error_type))
        if found is None:
            counted = {semconv.MESSAGING_OPERATION_NAME: "send"} | self.base | _error(error_type)
            measured = counted | {semconv.MESSAGING_OPERATION_TYPE: "send"}
            found = Series(tally.cell(counted), measured)
            self._keep(("send", error_type), found)
        return found

    def consumed(self, tally: Tally, outcome: Outcome, error_type: str | None) -> Series:
        """The series of deliveries that ended with `outcome`."""
        key = (outcome.value, error_type)
        found = self._series.get(key)
        if found is None:
            counted = (
                {semconv.MESSAGING_OPERATION_NAME: "process"}
                | self.base
                | {semconv.TASK_OUTCOME: outcome.value}
            )
            found = Series(tally.cell(counted), counted | _error(error_type))
            self._keep(key, found)
        return found

    def _keep(self, key: tuple[str, str | None], series: Series) -> None:
        if len(self._series) >= MAX_SERIES_OF_ROUTE:
            self._series.clear()
        self._series[key] = series


class RouteTemplates:
    """What is prepared for the routes in use; with more than 4,096, some again and again."""

    def __init__(self, framework: str, span_name: str) -> None:
        self._framework = framework
        self._span_name = span_name
        self._known: dict[Route, RouteTemplate] = {}

    def of(self, route: Route) -> RouteTemplate:
        """What is prepared for `route`."""
        template = self._known.get(route)
        if template is None:
            if len(self._known) >= MAX_ROUTES:
                self._known.clear()
            template = self._known[route] = RouteTemplate(route, self._framework, self._span_name)
        return template


def _operation(name: str) -> dict[str, Value]:
    return {
        semconv.MESSAGING_OPERATION_NAME: name,
        semconv.MESSAGING_OPERATION_TYPE: name,
    }


def _span_attributes(route: Route, framework: str) -> dict[str, Value]:
    attributes = _metric_attributes(route)
    attributes[semconv.FRAMEWORK] = framework
    if route.server_address is not None:
        attributes[semconv.SERVER_ADDRESS] = bounded(route.server_address)
    if route.server_port is not None:
        attributes[semconv.SERVER_PORT] = route.server_port
    return attributes


def _metric_attributes(route: Route) -> dict[str, Value]:
    return {
        semconv.MESSAGING_SYSTEM: bounded(route.system),
        semconv.MESSAGING_DESTINATION_NAME: bounded(route.destination),
        semconv.TASK_NAME: bounded(route.task),
    }


def _function(route: Route) -> dict[str, Value]:
    return {} if route.function is None else {semconv.CODE_FUNCTION_NAME: route.function}


def _error(error_type: str | None) -> dict[str, Value]:
    return {} if error_type is None else {semconv.ERROR_TYPE: error_type}
