"""What web apps and scripts send with: `FRAMEWORK` in the environment is `celery` or `dramatiq`.

`instrument_app()` is the one line of this package; without it the app is a plain one.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from tests.brokers.apps.settings import QUEUE, celery_settings, dramatiq_broker

__all__ = ["instrument_app", "send"]


def work(*_: object) -> None:
    """The task, for those who start a worker."""


def _celery() -> tuple[Callable[[], object], Callable[..., object]]:
    from celery import Celery

    from otel_queue_plugins.celery import instrument

    app = Celery("sender")
    app.conf.update(celery_settings())
    app.task(work, name="work")
    return lambda: instrument(app), lambda *args: app.send_task("work", args)


def _dramatiq() -> tuple[Callable[[], object], Callable[..., object]]:
    import dramatiq

    from otel_queue_plugins.dramatiq import instrument

    broker = dramatiq_broker()
    actor = dramatiq.actor(work, actor_name="work", queue_name=QUEUE)
    return lambda: instrument(broker), actor.send


instrument_app, send = (_celery if os.environ["FRAMEWORK"] == "celery" else _dramatiq)()
