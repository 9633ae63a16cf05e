"""A reader for the queues of a Celery app, of a Dramatiq broker, or at a URL.

Nothing is connected to, and nothing of a framework is imported, before it is needed. `timeout` is
in seconds, for each step of each call. The management API of RabbitMQ is asked only at a
`management_url` that is given; without a user in it, as the user of the broker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final

from otel_queue_plugins.brokers import opening_celery, opening_dramatiq
from otel_queue_plugins.brokers.reader import QueueReader

Clock = Callable[[], float]

TIMEOUT: Final = 2.0


def reader_of_celery(
    app: Any,
    *,
    management_url: str | None = None,
    timeout: float = TIMEOUT,
    clock: Clock = time.time,
) -> QueueReader:
    """The queues of a Celery app, with its broker options: prefix, priorities, TLS."""
    queues = opening_celery.Queues.of_app(app)
    found = opening_celery.storage(
        str(app.conf.broker_read_url),
        app.connection_for_read,
        queues,
        management_url=management_url,
        timeout=timeout,
        clock=clock,
    )
    return QueueReader(found, clock)


def reader_of_dramatiq(
    broker: Any,
    *,
    management_url: str | None = None,
    timeout: float = TIMEOUT,
    clock: Clock = time.time,
) -> QueueReader:
    """The queues of a Dramatiq broker. Its own client is not used: that would write heartbeats."""
    found = opening_dramatiq.storage(
        broker, management_url=management_url, timeout=timeout, clock=clock
    )
    return QueueReader(found, clock)


def reader_of_url(
    url: str,
    framework: str,
    *,
    queues: Sequence[str] = (),
    namespace: str = "dramatiq",
    key_prefix: str = "",
    management_url: str | None = None,
    timeout: float = TIMEOUT,
    clock: Clock = time.time,
) -> QueueReader:
    """The queues of `framework` (`celery` or `dramatiq`) at `url`; no app is imported.

    `namespace` is Dramatiq's, `key_prefix` kombu's `global_keyprefix`. ValueError for another
    framework.
    """
    if framework == "celery":
        kombu: Any = import_module("kombu")
        options = {"global_keyprefix": key_prefix} if key_prefix else {}
        found = opening_celery.storage(
            url,
            lambda: kombu.Connection(url, transport_options=options),
            opening_celery.Queues.of_names(queues),
            management_url=management_url,
            timeout=timeout,
            clock=clock,
        )
    elif framework == "dramatiq":
        found = opening_dramatiq.storage_at(
            url,
            queues=queues,
            namespace=namespace,
            management_url=management_url,
            timeout=timeout,
            clock=clock,
        )
    else:
        raise ValueError(f"framework: {framework!r} is not one of 'celery', 'dramatiq'")
    return QueueReader(found, clock)
