"""The options of a user, checked when they are given."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.policy.options import PolicyOptions
from otel_queue_plugins.core.profiles import PROFILES
from otel_queue_plugins.core.settings.definitions import Setting, is_strict
from otel_queue_plugins.core.settings.kinds import Choice, Flag, Kind, Names, Number
from otel_queue_plugins.core.settings.objectives import Objectives, Rule
from otel_queue_plugins.core.settings.option_fields import option
from otel_queue_plugins.core.settings.problems import nearest, raise_first, report
from otel_queue_plugins.core.settings.variables import Variables

_log = logging.getLogger("otel_queue_plugins")

RELATIONS: Final = ("child", "link", "none", "auto")
SPAN_NAMES: Final = ("task", "queue")
OPTIONAL_METRICS: Final = (semconv.PREFETCH_WAIT, semconv.COMPLETION, semconv.FETCHES)
EVENTS: Final = ("essential", "all")
EXCEPTION_SIGNALS: Final = ("", "logs", "logs/dup")

_RELATION: Final = Choice(*RELATIONS)
_EXCEPTION_VARIABLE: Final = "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(PolicyOptions):
    """How messages are traced and measured; see also `PolicyOptions`.

    Args:
        relation: How a process span relates to its send span, unless the task or the call says
            otherwise: `child`, `link`, `none` or `auto`.
        auto_link_after: Seconds of waiting after which `auto` links instead of nesting.
        auto_link_fan_out: Size of a group from which `auto` links.
        span_name: `task` gives `process app.tasks.add`, `queue` gives `process celery`.
        retry_is_error: Give the span of an attempt that will be tried again the status ERROR.
        events: `essential`, or `all` to give a process span the event `taskqueue.received`, too.
        metrics: Names of optional instruments to record besides the default ones.
        broker_spans: Let instrumented broker clients trace what a worker does between tasks.
        settle_spans: Give each ack, nack and reject of a delivery a span.
        receive_spans: Give each poll of the broker that returned something a span.
        log_correlation: Put trace, span and task on every log record.
        queue_state: Let workers report depth and age of the queues that they consume.
        log_trace_url: Put the URL of the trace on log records of tasks that fail.
        profile: The backend that spans are also described for, `""` for none.
        slo: Objectives that deliveries are counted against, how long they wait and run.
        exception_signal: `""` records exceptions as span events, `logs` as log records,
            `logs/dup` as both (OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN).

    A flag may also be spelled as in the environment (`"yes"`).

    Raises:
        ValueError: An option has a wrong value; the text names the value and the choices.
    """

    relation: str = option(
        "child", _RELATION, "how a process span [relates](../how-to/relation.md) to its send span"
    )
    auto_link_after: float = option(60.0, Number(), "seconds of waiting after which `auto` links")
    auto_link_fan_out: int = option(100, Number(whole=True), "group size from which `auto` links")
    span_name: str = option(
        "task",
        Choice(*SPAN_NAMES),
        "`task`: `process shop.charge`; `queue`: `process celery`, as the conventions have it",
    )
    retry_is_error: bool = option(
        default=False,
        kind=Flag(),
        text="give an attempt that will be tried again the status ERROR",
    )
    events: str = option(
        "essential",
        Choice(*EVENTS),
        "`all`: also [an event](telemetry.md#events-of-process-spans) for the moment when the "
        "worker received the message",
    )
    metrics: frozenset[str] = option(
        frozenset(),
        Names(*OPTIONAL_METRICS),
        "optional instruments to record, with commas between",
        default_text="none",
    )
    broker_spans: bool = option(
        default=False,
        kind=Flag(),
        text="let instrumented broker clients trace a worker's polling",
    )
    settle_spans: bool = option(
        default=False,
        kind=Flag(),
        text="give each ack, nack and reject of a delivery [a span](telemetry.md#spans)",
    )
    receive_spans: bool = option(
        default=False,
        kind=Flag(),
        text="give each poll of the broker that returned something [a span](telemetry.md#spans)",
    )
    log_correlation: bool = option(
        default=False,
        kind=Flag(),
        text="put `trace_id`, `span_id`, `task_id`, `task_name` and `correlation_id` on every log "
        "record",
    )
    queue_state: bool = option(
        default=False,
        kind=Flag(),
        text="let workers report [the state of their queues](telemetry.md#the-state-of-queues)",
        variable="OTEL_QUEUE_STATE",
    )
    log_trace_url: bool = option(
        default=False,
        kind=Flag(),
        text="put `trace_url` on every log record: [the link](../how-to/operate-queues.md#links-to-"
        "traces) on what a task, or its framework, logs at WARNING or above, else empty",
    )
    profile: str = option(
        "",
        Choice("", *PROFILES),
        "attributes and defaults that [a backend](../how-to/backends.md#profiles) needs: "
        + ", ".join(f"`{name}`" for name in PROFILES),
        default_text="none",
    )
    slo: tuple[Rule, ...] = option(
        (),
        Objectives(),
        "[objectives](../how-to/objectives.md) that deliveries are counted against: "
        "`task:shop.charge:wait<1s;default:wait<10s,run<60s`",
        default_text="none",
    )
    exception_signal: str = option(
        "",
        Choice(*EXCEPTION_SIGNALS),
        "`logs`: exceptions as log records; `logs/dup`: as both",
        variable=_EXCEPTION_VARIABLE,
        default_text="span events",
    )

    def __post_init__(self) -> None:
        for name, setting in SETTINGS.items():
            value = _checked(name, setting.kind, getattr(self, name))
            object.__setattr__(self, name, value)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], **given: Any) -> Options:
        """Complete the options in `given` from `OTEL_QUEUE_*` variables.

        Args:
            environ: The environment. An empty variable counts as unset; so does one with a wrong
                value, which is logged.
            given: Options by name. None counts as not given.

        Raises:
            TypeError: There is no option of that name.
            ValueError: An option in `given` has a wrong value.
            ConfigurationError: A variable has a wrong value and `OTEL_QUEUE_STRICT` is true.
        """
        check_names(given)
        variables = Variables(environ)
        chosen = {name: value for name, value in given.items() if value is not None}
        for name in SETTINGS.keys() - chosen.keys():
            value = _from_variable(variables, name)
            if value is not None:
                chosen[name] = value
        if callable(chosen.get("redact")):  # it comes besides the rules of the environment
            rules = _from_variable(variables, "redact")
            chosen["redact"] = [*getattr(rules, "rules", ()), chosen["redact"]]
        if is_strict(environ):
            raise_first(variables.problems)
        report(variables.problems)
        return cls(**chosen)


SETTINGS: Final[Mapping[str, Setting[Any]]] = {
    each.name: Setting(
        variable=each.metadata["variable"] or f"OTEL_QUEUE_{each.name.upper()}",
        kind=each.metadata["kind"],
        default=each.default,
        text=each.metadata["text"],
        argument=each.name,
        default_text=each.metadata["default_text"],
    )
    for each in sorted(fields(Options), key=lambda each: each in fields(PolicyOptions))
}
"""The definition of each option, by its name."""


def check_names(given: Iterable[str], *others: str) -> None:
    """Raise TypeError for the first name that is neither an option nor one of `others`.

    The text suggests the most similar name and lists all of them.
    """
    names = [*SETTINGS, *others, "tracer_provider", "meter_provider"]
    for name in given:
        if name not in names:
            near = nearest(name, names)
            hint = f"; did you mean {near!r}?" if near else "."
            raise TypeError(f"there is no option {name!r}{hint} The options are {', '.join(names)}")


def check_relation(value: object) -> str:
    """Return `value` if it is a relation; else raise ValueError with the value and the choices."""
    return str(_checked("relation", _RELATION, value))


def check_relations(value: object) -> dict[str, str]:
    """Return `value`, a mapping of task names to relations, as a dict; an empty one for None.

    Raises ValueError with the wrong value and the choices.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(task, str) for task in value):
        raise ValueError(f"relations: {value!r} is not a mapping of task names to {_RELATION}")
    return {
        task: str(_checked(f"relations[{task!r}]", _RELATION, relation))
        for task, relation in value.items()
    }


def check_providers(tracer_provider: object, meter_provider: object) -> None:
    """Raise ValueError unless each is None or has the method that a provider has."""
    for name, value, method in (
        ("tracer_provider", tracer_provider, "get_tracer"),
        ("meter_provider", meter_provider, "get_meter"),
    ):
        if value is not None and not callable(getattr(value, method, None)):
            raise ValueError(f"{name}: {value!r} is not a provider: it has no method {method}")


def warn_of_unused(instrumented: object, given: Mapping[str, object]) -> None:
    """Log that `instrumented` keeps its options, if any options are given again."""
    names = ", ".join(name for name, value in given.items() if value is not None)
    if names:
        _log.warning("%s is instrumented already; the options %s are not used", instrumented, names)


def _checked(name: str, kind: Kind, value: object) -> object:
    try:
        return kind.check(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _from_variable(variables: Variables, name: str) -> object | None:
    """The value of an option's variable; None if it is unset or has a wrong value."""
    setting = SETTINGS[name]
    variable, kind = setting.variable, setting.kind
    text = variables.value(variable)
    if not text:
        return None
    try:
        return kind.parse(text)
    except ValueError:
        fix = f"use {kind}; it counts as unset"
        if variable == _EXCEPTION_VARIABLE:  # other instrumentations may know more values
            variables.warn(variable, fix)
        else:
            variables.reject(variable, fix)
    return None
