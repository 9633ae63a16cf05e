"""What the tests about the life of telemetry share."""

from __future__ import annotations

import re
from typing import Final

CELERY: Final = "tests.brokers.apps.telemetry_celery"
DRAMATIQ: Final = "tests.brokers.apps.telemetry_dramatiq"
SENT: Final = "messaging.client.sent.messages"
CONSUMED: Final = "messaging.client.consumed.messages"
OUTCOME: Final = "taskqueue.task.outcome"

# Timers that are not due in a test: what arrives was sent by an end.
LATER: Final = {"OTEL_BSP_SCHEDULE_DELAY": "30000", "OTEL_METRIC_EXPORT_INTERVAL": "60000"}

# Each pool process exports by itself, as it does where it is not forked.
APART: Final = {"OTEL_QUEUE_RELAY": "off"}

# For a producer, before a Celery worker is stopped: until its main process has read the start of
# every task from the pool. When Celery stops it forgets those it has not (`AsynPool.flush`), reads
# nothing more, and billiard keeps the process that waits to be read for 30 s; without us, too.
RESTING: Final = """
while any((app.control.inspect(limit=1).active() or {}).values()):
    pass
"""

_OURS = re.compile(r"Overriding of|Traceback|telemetry\b|OTEL_")


def in_log_of_ours(log: str) -> list[str]:
    """Return the lines of a log that complain about telemetry, or begin an exception."""
    return [line for line in log.splitlines() if _OURS.search(line) and "INFO" not in line]
