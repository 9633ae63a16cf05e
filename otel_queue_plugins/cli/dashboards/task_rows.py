"""The rows about tasks, workers and the telemetry itself."""

from __future__ import annotations

from typing import Final

from otel_queue_plugins.cli.dashboards.panels import (
    BY_QUEUE,
    BY_TASK,
    CONSUMED,
    FAILED,
    OF_TASK,
    OF_WORKER,
    RUN,
    SENT,
    Panel,
    Query,
    Row,
    quantile,
    quantiles,
    rate,
)

_SLO: Final = "taskqueue_slo_deliveries_total"
_MISSED: Final = 'taskqueue_slo_met="false"'
_BY_OBJECTIVE: Final = f"{BY_TASK}, taskqueue_slo_objective"
_WORKFLOW: Final = "taskqueue_workflow_duration_seconds_bucket"
_DRIFT: Final = "taskqueue_schedule_drift_seconds_bucket"

TASKS: Final = Row(
    "Tasks",
    (
        Panel(
            "Deliveries by task",
            "The ten busiest.",
            "ops",
            (Query(f"topk(10, {rate(CONSUMED, OF_TASK, BY_TASK)})", "{{taskqueue_task_name}}"),),
        ),
        Panel(
            "Run",
            "How long tasks ran. Points lead to traces.",
            "s",
            quantiles(RUN, OF_TASK),
        ),
        Panel(
            "Run by task, p95",
            "The ten slowest.",
            "s",
            (
                Query(
                    f"topk(10, {quantile(0.95, RUN, OF_TASK, BY_TASK)})", "{{taskqueue_task_name}}"
                ),
            ),
        ),
        Panel(
            "Failures",
            "By task and outcome.",
            "ops",
            (
                Query(
                    rate(CONSUMED, f"{OF_TASK},{FAILED}", f"{BY_TASK}, taskqueue_task_outcome"),
                    "{{taskqueue_task_name}} {{taskqueue_task_outcome}}",
                ),
            ),
        ),
        Panel(
            "Retries",
            "By task and error.",
            "ops",
            (
                Query(
                    rate("taskqueue_task_retries_total", OF_TASK, f"{BY_TASK}, error_type"),
                    "{{taskqueue_task_name}} {{error_type}}",
                ),
            ),
        ),
        Panel(
            "Dead letters",
            "Messages that were given up, in the range that is shown.",
            "short",
            (
                Query(
                    f"sum by ({BY_TASK}) "
                    f"(increase(taskqueue_task_dead_letters_total{{{OF_TASK}}}[$__range]))",
                    "{{taskqueue_task_name}}",
                ),
            ),
        ),
        Panel(
            "Cancellations",
            "Deliveries that were revoked, expired or skipped.",
            "ops",
            (
                Query(
                    rate(
                        "taskqueue_task_cancellations_total",
                        OF_TASK,
                        f"{BY_TASK}, taskqueue_cancellation_scope",
                    ),
                    "{{taskqueue_task_name}} {{taskqueue_cancellation_scope}}",
                ),
            ),
        ),
        Panel(
            "Missed objectives",
            "The share of deliveries that missed what OTEL_QUEUE_SLO says.",
            "percentunit",
            (
                Query(
                    f"{rate(_SLO, f'{OF_TASK},{_MISSED}', _BY_OBJECTIVE)}"
                    f" / {rate(_SLO, OF_TASK, _BY_OBJECTIVE)}",
                    "{{taskqueue_task_name}} {{taskqueue_slo_objective}}",
                ),
            ),
        ),
        Panel(
            "Workflows, p95",
            "From the first send to the end of the last step, by first task.",
            "s",
            (
                Query(
                    quantile(0.95, _WORKFLOW, OF_TASK, f"{BY_TASK}, taskqueue_workflow_kind"),
                    "{{taskqueue_workflow_kind}} {{taskqueue_task_name}}",
                ),
            ),
        ),
        Panel(
            "Drift of schedules, p95",
            "How late scheduled tasks started.",
            "s",
            (Query(quantile(0.95, _DRIFT, OF_TASK, BY_TASK), "{{taskqueue_task_name}}"),),
        ),
    ),
)
WORKERS: Final = Row(
    "Workers",
    (
        Panel(
            "Slots and what runs",
            "Where they meet, messages wait for a free slot.",
            "short",
            (
                Query(f"sum(taskqueue_worker_in_flight{{{OF_WORKER}}})", "running"),
                Query(f"sum(taskqueue_worker_capacity{{{OF_WORKER}}})", "slots"),
            ),
        ),
        Panel(
            "Saturation by worker",
            "The share of slots that is busy.",
            "percentunit",
            (
                Query(
                    f"sum by (instance) (taskqueue_worker_in_flight{{{OF_WORKER}}})"
                    f" / sum by (instance) (taskqueue_worker_capacity{{{OF_WORKER}}})",
                    "{{instance}}",
                ),
            ),
        ),
        Panel(
            "Held by workers",
            "Reserved messages wait for a slot, scheduled ones for their time.",
            "short",
            (
                Query(f"sum(taskqueue_worker_reserved{{{OF_WORKER}}})", "reserved"),
                Query(f"sum(taskqueue_worker_scheduled{{{OF_WORKER}}})", "scheduled"),
            ),
        ),
        Panel(
            "Longest running",
            "The age of the oldest task that runs now: one that hangs only grows.",
            "s",
            (
                Query(
                    f"max by ({BY_TASK}) (taskqueue_worker_longest_running_seconds{{{OF_TASK}}})",
                    "{{taskqueue_task_name}}",
                ),
            ),
        ),
        Panel(
            "Running tasks",
            "By task.",
            "short",
            (
                Query(
                    f"sum by ({BY_TASK}) (taskqueue_worker_in_flight{{{OF_TASK}}})",
                    "{{taskqueue_task_name}}",
                ),
            ),
        ),
    ),
)
TELEMETRY: Final = Row(
    "Telemetry",
    (
        Panel(
            "Dropped spans",
            "What this dashboard and the traces do not show.",
            "short",
            (
                Query(
                    "sum by (taskqueue_telemetry_drop_reason) "
                    f"(increase(taskqueue_telemetry_dropped_total{{{OF_WORKER}}}[$__rate_interval]))",
                    "{{taskqueue_telemetry_drop_reason}}",
                ),
            ),
        ),
        Panel(
            "Sends that failed",
            "By error; the message is not in the broker.",
            "ops",
            (
                Query(
                    rate(SENT, f'{OF_TASK},error_type!=""', f"{BY_QUEUE}, error_type"),
                    "{{messaging_destination_name}} {{error_type}}",
                ),
            ),
        ),
    ),
)
