"""Count deliveries against their objectives, waiting and running apart."""

from __future__ import annotations

from typing import Final

from opentelemetry.context import Context
from opentelemetry.metrics import Counter

from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.messages import Ending
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.outcomes import ERRORS, SUCCESS
from otel_queue_plugins.core.route_templates import RouteTemplate

WAIT: Final = "wait"
RUN: Final = "run"


def record(
    counter: Counter,
    operation: ProcessOperation,
    template: RouteTemplate,
    ending: Ending,
    options: Options,
    ended_ns: int,
) -> None:
    """Count a delivery that has ended.

    Each delivery is held to the objective for waiting. Running is counted once for a message, at
    its final outcome: an error misses it however fast it was, and a delivery that was cancelled
    does not count.
    """
    limits = template.limits
    attributes = template.attributes_for(ending.outcome)

    def count(objective: str, *, is_met: bool, context: Context) -> None:
        counted = {
            **attributes,
            semconv.SLO_OBJECTIVE: objective,
            semconv.SLO_MET: is_met,
        }
        counter.add(1, options.on_metric(counted), context)

    waited, context = operation.waiting.wait, operation.context
    if limits.wait is not None and waited is not None:
        count(WAIT, is_met=waited < limits.wait, context=context)
    if limits.run is None:
        return
    if ending.outcome is SUCCESS:
        took = (ended_ns - operation.started_ns) / 1e9
        count(RUN, is_met=took < limits.run, context=context)
    elif ending.outcome in ERRORS:
        count(RUN, is_met=False, context=context)
