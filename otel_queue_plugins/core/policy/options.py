"""The options that say what may leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from otel_queue_plugins.core.policy import attribute_lists, redaction
from otel_queue_plugins.core.policy.arguments import ArgumentPath
from otel_queue_plugins.core.policy.option_kinds import Correlating, Redacting
from otel_queue_plugins.core.policy.redaction import Redaction
from otel_queue_plugins.core.settings.kinds import Flag, Globs
from otel_queue_plugins.core.settings.option_fields import option


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOptions:
    """What may leave.

    Args:
        redact: What is replaced in texts of other people: names of rules and `/regex/`, or a
            callable that gets a text and returns what may leave, or a list of both.
        attributes_allow: Globs of the attributes that spans and events may have; none for all.
        attributes_deny: Globs of the attributes that spans and events must not have.
        metric_attributes_deny: Globs of the attributes that metrics of messages must not have.
        correlation: Paths of values in the arguments of tasks, by their keys.
        correlation_baggage: Hand these values on, as baggage, to all that follows.
        correlation_id: Give a message, and all that follows from it, one id.
        log_arguments: Export what the framework logs about arguments and results of tasks, too.
    """

    redact: Redaction = option(  # noqa: RUF009 - it returns a field
        redaction.DEFAULT,
        Redacting(),
        "what is replaced in texts that leave: [turn it on safely](../how-to/safety.md); "
        "`credentials` is on with the others, and off with `none` alone",
        default_text="`credentials`",
    )
    attributes_allow: tuple[str, ...] = option(
        (),
        Globs(),
        "the attributes that spans and events may have",
        default_text="all",
    )
    attributes_deny: tuple[str, ...] = option(
        (),
        Globs(),
        "the attributes that spans and events do not have, even if they are allowed",
        default_text="none",
    )
    metric_attributes_deny: tuple[str, ...] = option(
        (),
        Globs(),
        "the attributes that metrics of messages do not have; `messaging.system`, "
        "`messaging.operation.*` and `error.type` stay",
        default_text="none",
    )
    correlation: tuple[ArgumentPath, ...] = option(
        (),
        Correlating(),
        "values from the arguments of tasks, as attributes: "
        "[see a customer's tasks](../how-to/correlation.md)",
        default_text="none",
    )
    correlation_baggage: bool = option(
        default=False,
        kind=Flag(),
        text="hand these values on, as baggage, to all that follows",
    )
    correlation_id: bool = option(
        default=False,
        kind=Flag(),
        text="give a message, and all that follows from it, "
        "[one id](../how-to/correlation.md#one-id-for-all)",
    )
    log_arguments: bool = option(
        default=False,
        kind=Flag(),
        text="if log records are exported, keep what the framework prints in them of arguments "
        "and results of tasks",
    )

    def span_attributes(self) -> attribute_lists.AttributeLists:
        """The lists of attributes of spans and events."""
        return attribute_lists.of_spans(self.attributes_allow, self.attributes_deny)

    def on_span(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """Those of `attributes` that a span or an event may have."""
        lists = self.span_attributes()
        return lists.kept(attributes) if lists else attributes

    def on_metric(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """Those of `attributes` that a metric may have."""
        lists = attribute_lists.of_metrics(self.metric_attributes_deny)
        return lists.kept(attributes) if lists else attributes
