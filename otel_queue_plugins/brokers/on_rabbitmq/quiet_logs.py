"""Keep pika's log lines about our own connections from the log of the application.

A refusal is an answer here: another reporter has the lease, or there is no such queue. pika logs
each one at WARNING. What fails is raised as well, and is logged by who called.
"""

from __future__ import annotations

import logging
from typing import Final

THREAD_NAME: Final = "otel-queue-amqp"


class _NotOurs(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record comes from a thread that is not ours."""
        return record.threadName != THREAD_NAME


_not_ours: Final = _NotOurs()


def quieten_pika() -> None:
    """Drop what pika logs in our threads. Its loggers exist once it is imported."""
    for name in list(logging.root.manager.loggerDict):
        if name == "pika" or name.startswith("pika."):
            logging.getLogger(name).addFilter(_not_ours)  # which is added once
