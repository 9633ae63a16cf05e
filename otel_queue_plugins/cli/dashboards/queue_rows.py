"""The rows about messages and queues."""

from __future__ import annotations

from typing import Final

from otel_queue_plugins.cli.dashboards.panels import (
    BY_QUEUE,
    CONSUMED,
    FAILED,
    OF_QUEUE,
    OF_TASK,
    RUN,
    SENT,
    WAIT,
    Panel,
    Query,
    Row,
    quantile,
    quantiles,
    rate,
)

_DEPTH: Final = "taskqueue_queue_depth"
_AGE: Final = "taskqueue_queue_oldest_age_seconds"
_READY: Final = 'taskqueue_queue_state="ready"'

OVERVIEW: Final = Row(
    "Overview",
    (
        Panel(
            "Deliveries",
            "Deliveries that ended, with any outcome.",
            "ops",
            (Query(f"sum(rate({CONSUMED}{{{OF_TASK}}}[$__rate_interval]))", "deliveries"),),
            "stat",
        ),
        Panel(
            "Failed",
            "The share of deliveries that failed for good, timed out or were lost.",
            "percentunit",
            (
                Query(
                    f"(sum(rate({CONSUMED}{{{OF_TASK},{FAILED}}}[$__rate_interval])) or vector(0))"
                    f" / sum(rate({CONSUMED}{{{OF_TASK}}}[$__rate_interval]))",
                    "failed",
                ),
            ),
            "stat",
        ),
        Panel(
            "Wait, p95",
            "How long messages could have run and did not, without delays that were asked for.",
            "s",
            (Query(quantile(0.95, WAIT, OF_TASK), "p95"),),
            "stat",
        ),
        Panel(
            "Run, p95",
            "How long tasks ran.",
            "s",
            (Query(quantile(0.95, RUN, OF_TASK), "p95"),),
            "stat",
        ),
        Panel(
            "Ready messages",
            "What workers could take now. Needs OTEL_QUEUE_STATE=on or otel-queue report.",
            "short",
            (
                Query(
                    f"sum(max by ({BY_QUEUE}) ({_DEPTH}{{{OF_QUEUE},{_READY}}}))",
                    "ready",
                ),
            ),
            "stat",
        ),
        Panel(
            "Oldest message",
            "Since when the oldest of them could have run.",
            "s",
            (Query(f"max({_AGE}{{{OF_QUEUE},{_READY}}})", "oldest"),),
            "stat",
        ),
        Panel(
            "Deliveries by outcome",
            "One message may be delivered several times: a retry is an outcome of its own.",
            "ops",
            (
                Query(
                    rate(CONSUMED, OF_TASK, "taskqueue_task_outcome"), "{{taskqueue_task_outcome}}"
                ),
            ),
        ),
        Panel(
            "Sent and processed",
            "Where more is sent than processed, a queue grows.",
            "ops",
            (
                Query(f"sum(rate({SENT}{{{OF_TASK}}}[$__rate_interval]))", "sent"),
                Query(f"sum(rate({CONSUMED}{{{OF_TASK}}}[$__rate_interval]))", "processed"),
            ),
        ),
    ),
)
QUEUES: Final = Row(
    "Queues",
    (
        Panel(
            "Depth",
            "Messages by state. What workers hold, or what is not due yet, is no backlog.",
            "short",
            (
                Query(
                    f"max by ({BY_QUEUE}, taskqueue_queue_state) ({_DEPTH}{{{OF_QUEUE}}})",
                    "{{messaging_destination_name}} {{taskqueue_queue_state}}",
                ),
            ),
        ),
        Panel(
            "Age of the oldest message",
            "What to alert and to scale on.",
            "s",
            (
                Query(
                    f"max by ({BY_QUEUE}, taskqueue_queue_state) ({_AGE}{{{OF_QUEUE}}})",
                    "{{messaging_destination_name}} {{taskqueue_queue_state}}",
                ),
            ),
        ),
        Panel(
            "Wait",
            "How long messages could have run and did not. Points lead to traces.",
            "s",
            quantiles(WAIT, OF_TASK),
        ),
        Panel(
            "Wait by queue, p95",
            "As above, to find the queue.",
            "s",
            (Query(quantile(0.95, WAIT, OF_TASK, BY_QUEUE), "{{messaging_destination_name}}"),),
        ),
        Panel(
            "Consumers",
            "Workers that consume a queue.",
            "short",
            (
                Query(
                    f"sum by ({BY_QUEUE}) (taskqueue_queue_consumers{{{OF_QUEUE}}})",
                    "{{messaging_destination_name}}",
                ),
            ),
        ),
        Panel(
            "Held by workers that are gone",
            "They come back when the broker notices.",
            "short",
            (
                Query(
                    f"max by ({BY_QUEUE}) (taskqueue_queue_abandoned{{{OF_QUEUE}}})",
                    "{{messaging_destination_name}}",
                ),
            ),
        ),
    ),
)
