"""What a dashboard is made of: rows of panels, and queries of Prometheus in them.

Names are those that Prometheus gives to the metrics of OTLP. `$job`, `$queue` and `$task` are the
dashboard's variables.
"""

from __future__ import annotations

from typing import Final, NamedTuple

OF_QUEUE: Final = 'job=~"$job",messaging_destination_name=~"$queue"'
OF_TASK: Final = f'{OF_QUEUE},taskqueue_task_name=~"$task"'
OF_WORKER: Final = 'job=~"$job"'
CONSUMED: Final = "messaging_client_consumed_messages_total"
SENT: Final = "messaging_client_sent_messages_total"
RUN: Final = "messaging_process_duration_seconds_bucket"
WAIT: Final = "taskqueue_task_wait_seconds_bucket"
BY_QUEUE: Final = "messaging_destination_name"
BY_TASK: Final = "taskqueue_task_name"
FAILED: Final = 'taskqueue_task_outcome=~"failure|timeout|lost|dead_letter"'


class Query(NamedTuple):
    """A query, what its series are called, and whether exemplars lead from it to traces."""

    expr: str
    legend: str
    exemplar: bool = False


class Panel(NamedTuple):
    """One panel. `unit` is Grafana's name of it; `kind` is `timeseries` or `stat`."""

    title: str
    text: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"


class Row(NamedTuple):
    """Panels with a heading."""

    title: str
    panels: tuple[Panel, ...]


def rate(metric: str, selector: str, by: str) -> str:
    """Events a second, by labels."""
    return f"sum by ({by}) (rate({metric}{{{selector}}}[$__rate_interval]))"


def quantile(quantile: float, bucket: str, selector: str, by: str = "") -> str:
    """A quantile of a histogram, over all series or by a label."""
    grouped = f"sum by ({', '.join(filter(None, (by, 'le')))})"
    rate = f"rate({bucket}{{{selector}}}[$__rate_interval])"
    return f"histogram_quantile({quantile}, {grouped} ({rate}))"


def quantiles(bucket: str, selector: str) -> tuple[Query, ...]:
    """The usual three quantiles of a histogram, with exemplars."""
    return tuple(
        Query(quantile(share, bucket, selector), name, exemplar=True)
        for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    )
