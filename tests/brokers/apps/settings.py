"""How an app under test finds its broker: what the harness put into the environment."""

from __future__ import annotations

import importlib
import os
from typing import Any

QUEUE = os.environ["QUEUE"]
BROKER_URL = os.environ["BROKER_URL"]
RESULTS_URL = os.environ["RESULTS_URL"]


def celery_settings(**extra: Any) -> dict[str, Any]:
    """For `app.conf.update`: this app's own broker, queue, control exchanges and result backend.

    Results are ignored unless a task, or `task_ignore_result=False`, says otherwise.
    """
    return {
        "broker_url": BROKER_URL,
        "result_backend": RESULTS_URL,
        "broker_connection_retry_on_startup": True,
        "task_default_queue": QUEUE,
        "control_exchange": f"{QUEUE}-control",
        "event_exchange": f"{QUEUE}-events",
        "task_ignore_result": True,
        "worker_redirect_stdouts": False,
        # A spawned process imports everything; a busy machine needs more than the default of 4 s.
        "worker_proc_alive_timeout": 30.0,
        **extra,
    }


def dramatiq_broker(**options: Any) -> Any:
    """The broker of `BROKER_URL`, set as Dramatiq's global one. Declare actors on `QUEUE`."""
    kind = "redis" if BROKER_URL.startswith("redis") else "rabbitmq"
    module = importlib.import_module(f"dramatiq.brokers.{kind}")
    broker = getattr(module, f"{kind.title()}Broker")(url=BROKER_URL, **options)
    importlib.import_module("dramatiq").set_broker(broker)
    return broker
