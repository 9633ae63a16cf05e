"""Names, attributes and series of a route: all that is the same for each of its messages."""

from __future__ import annotations

from typing import Final

from otel_queue_plugins.core import profiles, semconv
from otel_queue_plugins.core.api.recorder import Value
from otel_queue_plugins.core.bounds import bounded
from otel_queue_plugins.core.messages import Outcome, Route
from otel_queue_plugins.core.metrics.tally import Cell, Tally
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.settings.objectives import limits_for

MAX_ROUTES: Final = 4096
MAX_SERIES_OF_ROUTE: Final = 256
ROUTE_ATTRIBUTES: Final = (
    semconv.MESSAGING_SYSTEM,
    semconv.MESSAGING_DESTINATION_NAME,
    semconv.TASK_NAME,
)

_OTHER_TASK: Final = "_OTHER"
_UNDECLARED: Final = frozenset({Outcome.UNKNOWN_TASK, Outcome.UNDECODABLE})

# Placeholders for what nearly all messages have, so that the copied dict need not grow.
_SEND_PLACEHOLDERS: Final[dict[str, Value]] = {
    semconv.MESSAGING_MESSAGE_ID: "",
    semconv.MESSAGING_CONVERSATION_ID: "",
}
_PROCESS_PLACEHOLDERS: Final[dict[str, Value]] = {
    semconv.MESSAGING_MESSAGE_ID: "",
    semconv.TASK_TRIGGER: "call",
    semconv.TASK_ATTEMPT: 1,
    semconv.PROCESS_PID: 0,
}


class Series:
    """One metric series: the cell that counts it, and the attributes of its durations."""

    __slots__ = ("attributes", "cell")

    def __init__(self, cell: Cell, attributes: dict[str, Value]) -> None:
        self.cell = cell
        self.attributes = attributes


class RouteTemplate:
    """Span names, attributes and metric series of one route.

    `send_attributes` and `process_attributes` are to be copied: they have placeholders for what
    differs between messages. `metric_attributes` are those of every metric, `base_attributes` those
    of every span of a delivery. `undeclared_attributes` are those of metrics about a task that
    does not exist: who sends such messages may choose any number of names.
    """

    __slots__ = (
        "_on_metric",
        "_process_success_series",
        "_send_success_series",
        "_series",
        "base_attributes",
        "limits",
        "metric_attributes",
        "process_attributes",
        "process_name",
        "profile",
        "route",
        "send_attributes",
        "send_name",
        "undeclared_attributes",
    )

    def __init__(self, route: Route, framework: str, options: Options) -> None:
        target = bounded(route.destination if options.span_name == "queue" else route.task)
        self._on_metric = options.on_metric
        self.route = route
        self.profile = options.profile
        self.limits = limits_for(options.slo, route.task, route.destination)
        self.send_name = f"send {target}"
        self.process_name = f"process {target}"
        shared = _span_attributes(route, framework)
        self.send_attributes = (
            _operation("send")
            | shared
            | _SEND_PLACEHOLDERS
            | profiles.attributes(options.profile, "send", framework, route)
        )
        self.base_attributes = _operation("process") | shared
        self.process_attributes = (
            self.base_attributes
            | _PROCESS_PLACEHOLDERS
            | _function(route)
            | profiles.attributes(options.profile, "process", framework, route)
        )
        named = _metric_attributes(route)
        self.metric_attributes = self._on_metric(named)
        self.undeclared_attributes = self._on_metric(named | {semconv.TASK_NAME: _OTHER_TASK})
        self._series: dict[tuple[str, str | None], Series] = {}
        self._send_success_series: Series | None = None
        self._process_success_series: Series | None = None

    def send_success_series(self, tally: Tally) -> Series:
        """The series of sends without an error."""
        if self._send_success_series is None:
            self._send_success_series = self.send_series(tally, None)
        return self._send_success_series

    def process_success_series(self, tally: Tally) -> Series:
        """The series of deliveries that ended with success."""
        if self._process_success_series is None:
            self._process_success_series = self.process_series(tally, Outcome.SUCCESS, None)
        return self._process_success_series

    def send_series(self, tally: Tally, error_type: str | None) -> Series:
        """The series of sends that ended with `error_type`, None for those without an error."""
        found = self._series.get(("send", error_type))
        if found is None:
            counted = (
                {semconv.MESSAGING_OPERATION_NAME: "send"}
                | self.metric_attributes
                | _error(error_type)
            )
            measured = counted | {semconv.MESSAGING_OPERATION_TYPE: "send"}
            found = Series(tally.cell(counted), measured)
            self._keep(("send", error_type), found)
        return found

    def process_series(self, tally: Tally, outcome: Outcome, error_type: str | None) -> Series:
        """The series of deliveries that ended with `outcome`."""
        key = (outcome.value, error_type)
        found = self._series.get(key)
        if found is None:
            counted = (
                {semconv.MESSAGING_OPERATION_NAME: "process"}
                | self.attributes_for(outcome)
                | self._on_metric({semconv.TASK_OUTCOME: outcome.value})
            )
            found = Series(tally.cell(counted), counted | _error(error_type))
            self._keep(key, found)
        return found

    def attributes_for(self, outcome: Outcome) -> dict[str, Value]:
        """The attributes of every metric about a delivery that ended with `outcome`."""
        return self.undeclared_attributes if outcome in _UNDECLARED else self.metric_attributes

    def _keep(self, key: tuple[str, str | None], series: Series) -> None:
        if len(self._series) >= MAX_SERIES_OF_ROUTE:
            self._series.clear()
        self._series[key] = series


class RouteTemplates:
    """The templates of the routes in use, at most 4,096; beyond that they are made anew."""

    def __init__(self, framework: str, options: Options) -> None:
        self._framework = framework
        self._options = options
        self._templates: dict[Route, RouteTemplate] = {}

    def of(self, route: Route) -> RouteTemplate:
        """The template of `route`."""
        template = self._templates.get(route)
        if template is None:
            if len(self._templates) >= MAX_ROUTES:
                self._templates.clear()
            template = self._templates[route] = RouteTemplate(route, self._framework, self._options)
        return template


def queue_attributes(system: str, destination: str) -> dict[str, Value]:
    """The attributes of every metric about a queue."""
    return {
        semconv.MESSAGING_SYSTEM: bounded(system),
        semconv.MESSAGING_DESTINATION_NAME: bounded(destination),
    }


def server_attributes(address: str | None, port: int | None) -> dict[str, Value]:
    """The attributes that say where the broker is, as far as that is known."""
    attributes: dict[str, Value] = {}
    if address is not None:
        attributes[semconv.SERVER_ADDRESS] = bounded(address)
    if port is not None:
        attributes[semconv.SERVER_PORT] = port
    return attributes


def _operation(name: str) -> dict[str, Value]:
    return {
        semconv.MESSAGING_OPERATION_NAME: name,
        semconv.MESSAGING_OPERATION_TYPE: name,
    }


def _span_attributes(route: Route, framework: str) -> dict[str, Value]:
    attributes = _metric_attributes(route)
    attributes[semconv.FRAMEWORK] = framework
    return attributes | server_attributes(route.server_address, route.server_port)


def _metric_attributes(route: Route) -> dict[str, Value]:
    named = {semconv.TASK_NAME: bounded(route.task)}
    return queue_attributes(route.system, route.destination) | named


def _function(route: Route) -> dict[str, Value]:
    return {} if route.function is None else {semconv.CODE_FUNCTION_NAME: route.function}


def _error(error_type: str | None) -> dict[str, Value]:
    return {} if error_type is None else {semconv.ERROR_TYPE: error_type}
