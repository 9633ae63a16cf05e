"""The colour and the word for how a span ended."""

from __future__ import annotations

from typing import Final

from otel_queue_plugins.cli.received import ReceivedSpan
from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.messages import Outcome

RUN_STYLES: Final = {"producer": "blue", "server": "cyan"}
_DEFAULT_RUN_STYLE: Final = "cyan"
_STYLES: Final = {
    Outcome.SUCCESS.value: "green",
    Outcome.RETRY.value: "yellow",
    Outcome.REQUEUED.value: "yellow",
    Outcome.IGNORED.value: "magenta",
    Outcome.SKIPPED.value: "magenta",
    Outcome.REVOKED.value: "magenta",
    Outcome.EXPIRED.value: "magenta",
}
_BAD: Final = "red"


def word(span: ReceivedSpan) -> str:
    """The outcome of a process span in words; `error` for other spans that failed, else nothing."""
    outcome = span.attributes.get(semconv.TASK_OUTCOME)
    if outcome is None:
        return "error" if span.status == "error" else ""
    return str(outcome).replace("_", " ")


def style(span: ReceivedSpan) -> str:
    """The colour of the span's bar and outcome."""
    outcome = span.attributes.get(semconv.TASK_OUTCOME)
    if outcome is not None:
        return _STYLES.get(outcome, _BAD)
    if span.status == "error":
        return _BAD
    return RUN_STYLES.get(span.kind, _DEFAULT_RUN_STYLE)
