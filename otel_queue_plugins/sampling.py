"""Sampling for queues: which traces are kept, by task and queue.

`OTEL_TRACES_SAMPLER=taskqueue`, with the rules in `OTEL_TRACES_SAMPLER_ARG`, does the same without
code, with any set-up of OpenTelemetry's SDK that reads these variables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_queue_plugins.core.settings.problems import report
from otel_queue_plugins.sdk.config import samplers
from otel_queue_plugins.sdk.sampling.keeping import KeepingSpanProcessor
from otel_queue_plugins.sdk.sampling.sampler import TaskQueueSampler

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.sampling import Sampler

__all__ = ["KeepingSpanProcessor", "TaskQueueSampler"]


def from_environment(argument: str | None) -> Sampler:
    """The sampler for `OTEL_TRACES_SAMPLER=taskqueue`; for a wrong rule the default one.

    Args:
        argument: The value of `OTEL_TRACES_SAMPLER_ARG`; None if it is unset.
    """
    from opentelemetry.sdk.trace.sampling import DEFAULT_ON

    rules = argument or ""
    problem = samplers.problem_of_rules(rules)
    if problem is None:
        return TaskQueueSampler(rules)
    report([problem])
    return DEFAULT_ON
