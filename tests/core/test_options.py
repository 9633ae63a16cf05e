"""Options: checked when they are made, taken from code first and the environment second."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import context

from otel_queue_plugins.core import quiet
from otel_queue_plugins.core.options import Options, check_relation


@pytest.mark.parametrize(
    ("name", "value", "choice"),
    [
        ("relation", "parent", "'child', 'link', 'none', 'auto'"),
        ("span_name", "actor", "'task', 'queue'"),
        ("exception_signal", "events", "'logs/dup'"),
        ("metrics", frozenset({"cpu"}), "taskqueue.task.completion"),
        ("auto_link_after", 0, "above 0"),
        ("auto_link_after", "60", "above 0"),
        ("auto_link_after", float("nan"), "above 0"),
        ("auto_link_fan_out", -1, "above 0"),
        ("auto_link_fan_out", True, "above 0"),
    ],
)
def test_a_wrong_option_names_value_and_choices(name: str, value: Any, choice: str) -> None:
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
        ("OTEL_QUEUE_RETRY_IS_ERROR", "TRUE", "retry_is_error", True),
        ("OTEL_QUEUE_BROKER_SPANS", "false", "broker_spans", False),
        ("OTEL_QUEUE_SETTLE_SPANS", "true", "settle_spans", True),
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
def test_each_option_has_a_variable(variable: str, text: str, name: str, value: object) -> None:
    """The environment sets what the code leaves open."""
    assert getattr(Options.from_environ({variable: text}), name) == value
    assert Options.from_environ({variable: "  "}) == Options()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("OTEL_QUEUE_RELATION", "parent"),
        ("OTEL_QUEUE_AUTO_LINK_AFTER", "soon"),
        ("OTEL_QUEUE_AUTO_LINK_AFTER", "0"),
        ("OTEL_QUEUE_AUTO_LINK_FAN_OUT", "-1"),
        ("OTEL_QUEUE_RETRY_IS_ERROR", "yes"),
        ("OTEL_QUEUE_SETTLE_SPANS", "1"),
        ("OTEL_QUEUE_METRICS", "cpu"),
    ],
)
def test_a_wrong_variable_is_named(
    variable: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With its value, so that one knows where to look; only the strict do not start."""
    with pytest.raises(ValueError, match=f"{variable}='{text}'"):
        Options.from_environ({variable: text, "OTEL_QUEUE_STRICT": "true"})
    assert Options.from_environ({variable: text}) == Options()
    assert f"{variable}='{text}'" in caplog.text


def test_one_metric_needs_no_set() -> None:
    """A string is read as the variable is, not as a set of letters."""
    options = Options.from_environ({}, metrics="taskqueue.task.completion")
    assert options.metrics == {"taskqueue.task.completion"}
    with pytest.raises(ValueError, match="'cpu' is not one of"):
        Options.from_environ({}, metrics="cpu")


def test_code_wins_over_the_environment() -> None:
    """An option given is not looked up; None counts as not given."""
    environ = {"OTEL_QUEUE_RELATION": "link"}
    assert Options.from_environ(environ, relation="none").relation == "none"
    assert Options.from_environ(environ, relation=None).relation == "link"


def test_an_option_that_does_not_exist() -> None:
    """A misspelt option is an error, not silence."""
    with pytest.raises(TypeError, match="relatoin"):
        Options.from_environ({}, relatoin="link")


def test_a_relation_of_a_call_is_checked() -> None:
    """What a task or a call says is held to the same choices."""
    assert check_relation("link") == "link"
    with pytest.raises(ValueError, match="sideways"):
        check_relation("sideways")


def test_a_quiet_thread() -> None:
    """Instrumented clients see the wish not to be traced, until it is taken back."""
    token = quiet.hush()
    key = context._SUPPRESS_INSTRUMENTATION_KEY
    said = context.get_value(key)
    context.detach(token)
    assert (said, context.get_value(key)) == (True, None)


def test_code_of_users_in_a_quiet_thread() -> None:
    """It is heard, and has the context that it had."""
    outer = context.attach(context.set_value("mine", 1))
    token = quiet.hush()
    inner = quiet.speak()
    assert not context.get_value(quiet.PLAIN_KEY)
    assert not context.get_value(context._SUPPRESS_INSTRUMENTATION_KEY)
    assert context.get_value("mine") == 1
    context.detach(inner)
    assert context.get_value(quiet.PLAIN_KEY)
    context.detach(token)
    context.detach(outer)


def test_quiet_is_nothing_to_take_along() -> None:
    """Unlike what was there before it became quiet."""
    assert quiet.is_all(context.get_current())
    token = quiet.hush()
    assert quiet.is_all(context.get_current())
    context.detach(token)
    there = context.attach(context.set_value("user", 7))
    assert not quiet.is_all(context.get_current())
    token = quiet.hush()
    assert not quiet.is_all(context.get_current())
    context.detach(token)
    context.detach(there)
