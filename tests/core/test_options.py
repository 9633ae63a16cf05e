"""Options: checked when they are given; code wins over the environment."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from opentelemetry import context
from opentelemetry.trace import NoOpTracerProvider

from otel_queue_plugins.core.api import suppression
from otel_queue_plugins.core.options import (
    Options,
    check_providers,
    check_relation,
    check_relations,
    warn_of_unused,
)
from otel_queue_plugins.core.settings.problems import ConfigurationError


@pytest.mark.parametrize(
    ("name", "value", "choice"),
    [
        ("relation", "parent", "'child', 'link', 'none', 'auto'"),
        ("span_name", "actor", "'task', 'queue'"),
        ("events", "none", "'essential', 'all'"),
        ("exception_signal", "events", "'logs/dup'"),
        ("metrics", frozenset({"cpu"}), "taskqueue.task.completion"),
        ("auto_link_after", 0, "above 0"),
        ("auto_link_after", "60", "above 0"),
        ("auto_link_after", float("nan"), "above 0"),
        ("auto_link_fan_out", -1, "above 0"),
        ("auto_link_fan_out", True, "above 0"),
        ("auto_link_fan_out", 2.5, "a whole number above 0"),
        ("auto_link_after", "x", "a number above 0"),
        ("relation", 5, "'child', 'link', 'none', 'auto'"),
        ("relation", ["link"], "'child', 'link', 'none', 'auto'"),
        ("metrics", 5, "taskqueue.task.completion"),
        ("metrics", [5], "taskqueue.task.completion"),
        ("broker_spans", "perhaps", "true, false, 1, 0, yes, no, on, off"),
        ("broker_spans", 2, "true, false, 1, 0, yes, no, on, off"),
        ("broker_spans", [], "true, false, 1, 0, yes, no, on, off"),
    ],
)
def test_option_with_wrong_value_raises_with_value_and_choices(
    name: str, value: Any, choice: str
) -> None:
    """It raises in the constructor, where the user sees it."""
    with pytest.raises(ValueError, match=name) as raised:
        Options(**{name: value})
    assert choice in str(raised.value)


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("OTEL_QUEUE_RELATION", "Link", "relation", "link"),
        ("OTEL_QUEUE_AUTO_LINK_AFTER", "2.5", "auto_link_after", 2.5),
        ("OTEL_QUEUE_AUTO_LINK_FAN_OUT", "7", "auto_link_fan_out", 7),
        ("OTEL_QUEUE_SPAN_NAME", "queue", "span_name", "queue"),
        ("OTEL_QUEUE_EVENTS", "All", "events", "all"),
        ("OTEL_QUEUE_RETRY_IS_ERROR", "TRUE", "retry_is_error", True),
        ("OTEL_QUEUE_BROKER_SPANS", "false", "broker_spans", False),
        ("OTEL_QUEUE_SETTLE_SPANS", "1", "settle_spans", True),
        ("OTEL_QUEUE_SETTLE_SPANS", "Yes", "settle_spans", True),
        ("OTEL_QUEUE_SETTLE_SPANS", "on", "settle_spans", True),
        ("OTEL_QUEUE_LOG_CORRELATION", "0", "log_correlation", False),
        ("OTEL_QUEUE_LOG_CORRELATION", "no", "log_correlation", False),
        ("OTEL_QUEUE_LOG_CORRELATION", "OFF", "log_correlation", False),
        (
            "OTEL_QUEUE_METRICS",
            "taskqueue.task.completion, ",
            "metrics",
            frozenset({"taskqueue.task.completion"}),
        ),
        ("OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN", "logs/dup", "exception_signal", "logs/dup"),
        ("OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN", "http", "exception_signal", ""),
    ],
)
def test_each_option_is_read_from_its_variable(
    variable: str, text: str, name: str, value: object
) -> None:
    """The environment sets what the code does not; an empty variable counts as unset."""
    assert getattr(Options.from_environ({variable: text}), name) == value
    assert Options.from_environ({variable: "  "}) == Options()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("OTEL_QUEUE_RELATION", "parent"),
        ("OTEL_QUEUE_AUTO_LINK_AFTER", "soon"),
        ("OTEL_QUEUE_AUTO_LINK_AFTER", "0"),
        ("OTEL_QUEUE_AUTO_LINK_FAN_OUT", "-1"),
        ("OTEL_QUEUE_AUTO_LINK_FAN_OUT", "2.5"),
        ("OTEL_QUEUE_RETRY_IS_ERROR", "perhaps"),
        ("OTEL_QUEUE_SETTLE_SPANS", "2"),
        ("OTEL_QUEUE_METRICS", "cpu"),
        ("OTEL_QUEUE_EVENTS", "none"),
    ],
)
def test_variable_with_wrong_value_is_logged_once_and_unset(
    variable: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has name and value; only with `OTEL_QUEUE_STRICT` does it raise."""
    with pytest.raises(ConfigurationError, match=f"{variable}='{text}': use "):
        Options.from_environ({variable: text, "OTEL_QUEUE_STRICT": "true"})
    assert Options.from_environ({variable: text}) == Options()
    assert Options.from_environ({variable: text}) == Options()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith(f"{variable}='{text}': use ")


@pytest.mark.parametrize("yes", ["true", "TRUE", "1", "yes", "On"])
def test_strict_accepts_every_spelling_of_true(yes: str) -> None:
    """`OTEL_QUEUE_STRICT` is a boolean like every other."""
    with pytest.raises(ConfigurationError):
        Options.from_environ({"OTEL_QUEUE_RELATION": "parent", "OTEL_QUEUE_STRICT": yes})


def test_standard_variable_with_unknown_value_is_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Other instrumentations read it, too: it raises nothing, even if strict."""
    environ = {"OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN": "log", "OTEL_QUEUE_STRICT": "true"}
    assert Options.from_environ(environ) == Options()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "use one of '', 'logs', 'logs/dup'" in record.getMessage()


@pytest.mark.parametrize("yes", [True, 1, "true", "yes", "ON"])
@pytest.mark.parametrize("no", [False, 0, "false", "no", "Off"])
def test_flag_in_code_accepts_the_spellings_of_the_environment(yes: Any, no: Any) -> None:
    """The option is a bool afterwards."""
    options = Options.from_environ({}, broker_spans=yes, settle_spans=no)
    assert (options.broker_spans, options.settle_spans) == (True, False)


def test_metrics_as_one_string_is_one_name() -> None:
    """A string is read as the variable is, not as a set of letters."""
    options = Options.from_environ({}, metrics="taskqueue.task.completion")
    assert options.metrics == {"taskqueue.task.completion"}
    with pytest.raises(ValueError, match="'cpu' is not one of"):
        Options.from_environ({}, metrics="cpu")


def test_option_in_code_wins_over_the_environment() -> None:
    """A given option is not looked up; None counts as not given."""
    environ = {"OTEL_QUEUE_RELATION": "link"}
    assert Options.from_environ(environ, relation="none").relation == "none"
    assert Options.from_environ(environ, relation=None).relation == "link"


def test_unknown_option_raises_with_the_most_similar_name() -> None:
    """A misspelt option raises, and the error lists all options."""
    with pytest.raises(TypeError) as raised:
        Options.from_environ({}, relatoin="link")
    line = str(raised.value)
    assert line.startswith("there is no option 'relatoin'; did you mean 'relation'?")
    assert "auto_link_after, auto_link_fan_out, span_name" in line
    with pytest.raises(TypeError, match=r"no option 'xyz'\. The options are relation, "):
        Options.from_environ({}, xyz="link")


def test_relations_must_map_tasks_to_relations() -> None:
    """The error of anything else says what is wrong, and the choices."""
    assert check_relations({"shop.pay": "link"}) == {"shop.pay": "link"}
    assert check_relations(None) == {}
    mapping = r"is not a mapping of task names to one of 'child', 'link', 'none', 'auto'"
    for wrong in (["shop.pay"], {5: "link"}, "link"):
        with pytest.raises(ValueError, match=mapping):
            check_relations(wrong)
    with pytest.raises(ValueError, match=r"relations\['shop.pay'\]: 'sideways' is not one of"):
        check_relations({"shop.pay": "sideways"})


def test_provider_without_get_meter_raises() -> None:
    """Anything else than a provider would lose every span silently."""
    check_providers(NoOpTracerProvider(), None)
    with pytest.raises(ValueError, match="meter_provider: 5 is not a provider: it has no method"):
        check_providers(None, 5)


def test_unused_options_are_logged_by_name(caplog: pytest.LogCaptureFixture) -> None:
    """Names without values; nothing is logged if no option was given."""
    warn_of_unused("Celery", {"relation": None})
    warn_of_unused("Celery", {"relation": "link", "metrics": None, "span_name": "queue"})
    (record,) = caplog.records
    line = "Celery is instrumented already; the options relation, span_name are not used"
    assert record.getMessage() == line


def test_relation_of_a_call_is_checked() -> None:
    """The relation of a task or a call has the same choices as the option."""
    assert check_relation("link") == "link"
    with pytest.raises(ValueError, match="sideways"):
        check_relation("sideways")


def test_suppression_is_visible_until_detached() -> None:
    """Instrumented clients see the key of the API, until the token is detached."""
    token = suppression.suppress_instrumentation()
    key = context._SUPPRESS_INSTRUMENTATION_KEY
    suppressed = context.get_value(key)
    context.detach(token)
    assert (suppressed, context.get_value(key)) == (True, None)


def test_allow_instrumentation_keeps_the_rest_of_the_context() -> None:
    """User code in a suppressed thread is traced, and sees its own values."""
    outer = context.attach(context.set_value("mine", 1))
    token = suppression.suppress_instrumentation()
    inner = suppression.allow_instrumentation()
    assert not context.get_value(suppression.LEGACY_KEY)
    assert not context.get_value(context._SUPPRESS_INSTRUMENTATION_KEY)
    assert context.get_value("mine") == 1
    context.detach(inner)
    assert context.get_value(suppression.LEGACY_KEY)
    context.detach(token)
    context.detach(outer)


def test_suppressed_context_has_nothing_to_propagate() -> None:
    """Unlike a context that had values before it was suppressed."""
    assert suppression.has_nothing_to_propagate(context.get_current())
    token = suppression.suppress_instrumentation()
    assert suppression.has_nothing_to_propagate(context.get_current())
    context.detach(token)
    there = context.attach(context.set_value("user", 7))
    assert not suppression.has_nothing_to_propagate(context.get_current())
    token = suppression.suppress_instrumentation()
    assert not suppression.has_nothing_to_propagate(context.get_current())
    context.detach(token)
    context.detach(there)
