"""The options that say what may leave."""

from __future__ import annotations

from dataclasses import dataclass

from otel_queue_plugins.core.policy import redaction
from otel_queue_plugins.core.policy.option_kinds import Redacting
from otel_queue_plugins.core.policy.redaction import Redaction
from otel_queue_plugins.core.settings.kinds import Flag
from otel_queue_plugins.core.settings.option_fields import option


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOptions:
    """What may leave.

    Args:
        redact: What is replaced in texts of other people: names of rules and `/regex/`, or a
            callable that gets a text and returns what may leave, or a list of both.
        log_arguments: Export what the framework logs about arguments and results of tasks, too.
    """

    redact: Redaction = option(  # noqa: RUF009 - it returns a field
        redaction.DEFAULT,
        Redacting(),
        "what is replaced in texts that leave: [turn it on safely](../how-to/safety.md); "
        "`credentials` is on with the others, and off with `none` alone",
        default_text="`credentials`",
    )
    log_arguments: bool = option(
        default=False,
        kind=Flag(),
        text="if log records are exported, keep what the framework prints in them of arguments "
        "and results of tasks",
    )
