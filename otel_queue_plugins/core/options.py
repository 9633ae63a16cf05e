"""The choices a user has, checked when they are made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from otel_queue_plugins.core import semconv

RELATIONS: Final = ("child", "link", "none", "auto")
SPAN_NAMES: Final = ("task", "queue")
OPTIONAL_METRICS: Final = (semconv.PREFETCH_WAIT, semconv.COMPLETION)
EVENTS: Final = ("essential", "all")
EXCEPTION_SIGNALS: Final = ("", "logs", "logs/dup")

_log = logging.getLogger("otel_queue_plugins")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How messages are traced and measured.

    Args:
        relation: How a process span relates to its send span, unless the task or the call says
            otherwise: `child`, `link`, `none` or `auto`.
        auto_link_after: Seconds of waiting after which `auto` links instead of nesting.
        auto_link_fan_out: Size of a group from which `auto` links.
        span_name: `task` gives `process app.tasks.add`, `queue` gives `process celery`.
        retry_is_error: Give the span of an attempt that will be tried again the status ERROR.
        events: `essential`, or `all` to say on a process span, too, when the worker received the
            message.
        metrics: Names of optional instruments to record besides the default ones.
        broker_spans: Let instrumented broker clients trace what a worker does between tasks.
        settle_spans: Give each ack and nack of a delivery a span (Dramatiq only).
        log_correlation: Put trace, span and task on every log record.
        exception_signal: `""` records exceptions as span events, `logs` as log records,
            `logs/dup` as both (OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN).

    Raises:
        ValueError: An option has a value that is none of its choices; the text names both.
    """

    relation: str = "child"
    auto_link_after: float = 60.0
    auto_link_fan_out: int = 100
    span_name: str = "task"
    retry_is_error: bool = False
    events: str = "essential"
    metrics: frozenset[str] = frozenset()
    broker_spans: bool = False
    settle_spans: bool = False
    log_correlation: bool = False
    exception_signal: str = ""

    def __post_init__(self) -> None:
        _check("relation", self.relation, RELATIONS)
        _check("span_name", self.span_name, SPAN_NAMES)
        _check("events", self.events, EVENTS)
        _check("exception_signal", self.exception_signal, EXCEPTION_SIGNALS)
        for name in self.metrics:
            _check("metrics", name, OPTIONAL_METRICS)
        _check_positive("auto_link_after", self.auto_link_after)
        _check_positive("auto_link_fan_out", self.auto_link_fan_out)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], **given: Any) -> Options:
        """The options in `given`, completed from `OTEL_QUEUE_*` variables.

        An option given as None counts as not given; an empty variable counts as unset. A
        variable that is wrong is logged and counts as unset, too: telemetry stops no production.
        With `OTEL_QUEUE_STRICT=true` it raises ValueError, naming the variable, its value and the
        choices. An option in `given` always does; TypeError for one that does not exist.
        """
        chosen = {name: value for name, value in given.items() if value is not None}
        for name in _VARIABLES.keys() - chosen.keys():
            value = _from_variable(environ, *_VARIABLES[name])
            if value is not None:
                chosen[name] = value
        metrics = chosen.get("metrics", ())
        chosen["metrics"] = _names(metrics) if isinstance(metrics, str) else frozenset(metrics)
        return cls(**chosen)


def check_relation(value: object) -> str:
    """`value` if it names a relation. Raises ValueError naming it and the choices otherwise."""
    _check("relation", value, RELATIONS)
    return str(value)


def _check(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name}: {value!r} is not one of {listed}")


def _check_positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ValueError(f"{name}: {value!r} is not a number above 0")


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        _check("value", text.lower(), choices)
        return text.lower()

    return parse


def _above_zero(kind: type[int | float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        number = kind(text)
        _check_positive("value", number)
        return number

    return parse


def _names(text: str) -> frozenset[str]:
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        _check("metric", name, OPTIONAL_METRICS)
    return names


def _flag(text: str) -> bool:
    _check("value", text.lower(), ("true", "false"))
    return text.lower() == "true"


_VARIABLES: Final[dict[str, tuple[str, Callable[[str], object]]]] = {
    "relation": ("OTEL_QUEUE_RELATION", _one_of(*RELATIONS)),
    "auto_link_after": ("OTEL_QUEUE_AUTO_LINK_AFTER", _above_zero(float)),
    "auto_link_fan_out": ("OTEL_QUEUE_AUTO_LINK_FAN_OUT", _above_zero(int)),
    "span_name": ("OTEL_QUEUE_SPAN_NAME", _one_of(*SPAN_NAMES)),
    "retry_is_error": ("OTEL_QUEUE_RETRY_IS_ERROR", _flag),
    "events": ("OTEL_QUEUE_EVENTS", _one_of(*EVENTS)),
    "metrics": ("OTEL_QUEUE_METRICS", _names),
    "broker_spans": ("OTEL_QUEUE_BROKER_SPANS", _flag),
    "settle_spans": ("OTEL_QUEUE_SETTLE_SPANS", _flag),
    "log_correlation": ("OTEL_QUEUE_LOG_CORRELATION", _flag),
    "exception_signal": (
        "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN",
        lambda text: text if text in EXCEPTION_SIGNALS else "",
    ),
}


def _from_variable(
    environ: Mapping[str, str], variable: str, parse: Callable[[str], object]
) -> object | None:
    """The value of a variable; None where it is unset, or wrong and nobody is strict."""
    text = environ.get(variable, "").strip()
    try:
        return parse(text) if text else None
    except ValueError as error:
        problem = f"{variable}={text!r}: {error}"
    if environ.get("OTEL_QUEUE_STRICT", "").strip().lower() == "true":
        raise ValueError(problem)
    _log.error("%s; it counts as unset", problem)
    return None
