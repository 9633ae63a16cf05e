"""Links from messages to their traces in a backend."""

from __future__ import annotations

import logging
import os
from typing import Any, Final

from otel_queue_plugins.brokers.bounded import BoundedThread
from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.brokers.facts import StoredMessage
from otel_queue_plugins.brokers.opening import reader_of_celery, reader_of_dramatiq
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.sdk.config import trace_urls

_log = logging.getLogger("otel_queue_plugins")

_BEFORE_S: Final = 3600.0
_TRACE_DIGITS: Final = 32
_SPAN_DIGITS: Final = 16
_TIMEOUT_S: Final = 5.0


def trace_url(
    trace_id: str | int,
    *,
    span_id: str | int | None = None,
    start: float | None = None,
    end: float | None = None,
) -> str | None:
    """Return the URL of a trace in the backend that `OTEL_QUEUE_TRACE_URL` names.

    Args:
        trace_id: As a number, or in hexadecimal.
        span_id: A span to show in it, in the same ways; None for none.
        start: When the trace begins, in seconds since the epoch; None for a day before `end`.
            Some backends look for a trace only between the two times.
        end: When it ends; None for now.

    Returns:
        The URL; None if the setting is unset, and the OTLP endpoint does not say where traces are
        shown.
    """
    return trace_urls.url(
        os.environ,
        _hexadecimal(trace_id, _TRACE_DIGITS),
        span_id="" if span_id is None else _hexadecimal(span_id, _SPAN_DIGITS),
        start=start,
        end=end,
    )


def trace_url_of_message(message: StoredMessage) -> str | None:
    """The URL of the trace of a message in a queue; None if it has none, or no URL is known."""
    creation, sent_at = message.creation, message.enqueued_at
    if creation is None:
        return None
    start = None if sent_at is None else sent_at - _BEFORE_S
    return trace_url(creation.trace_id, span_id=creation.span_id, start=start)


def trace_url_of_task(
    id: str,  # noqa: A002 - the word of both frameworks
    app_or_broker: Any,
    *,
    timeout: float = _TIMEOUT_S,
) -> str | None:
    """Return the URL of the trace of a task that waits, is held by a worker, or is a dead letter.

    Args:
        id: The id of the task, or of the message.
        app_or_broker: A Celery app or a Dramatiq broker.
        timeout: Seconds after which the search ends without a result.

    Returns:
        The URL. None if no queue has the message any more, if looking for it would disturb others
        (RabbitMQ), if the broker does not answer (logged as a warning), or if `trace_url` has none.
    """
    is_app = hasattr(app_or_broker, "connection_for_read")
    reader = reader_of_celery(app_or_broker) if is_app else reader_of_dramatiq(app_or_broker)
    thread = BoundedThread(reader.close)
    try:
        message = thread.call(lambda: _message(reader, id), timeout)
    except (BrokerError, TimeoutError) as error:
        _log.warning("the trace of task %s was not looked up: %s", id, error)
        return None
    finally:
        thread.stop()
    return None if message is None else trace_url_of_message(message)


def _message(reader: QueueReader, identity: str) -> StoredMessage | None:
    found = reader.find(identity, queues=list(reader.names(search=True)), limit=1)
    return next((each for each in found.messages if each.id == identity), None)


def _hexadecimal(identity: str | int, digits: int) -> str:
    return f"{identity:0{digits}x}" if isinstance(identity, int) else identity.zfill(digits)
