"""A Celery task's dead letter as a message with all its attempts before it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry.trace import SpanContext

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.formats import carriers
from otel_queue_plugins.core.semconv import CARRIER_KEY

_DEATH: Final = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count")


def headers_of(
    headers: Mapping[str, object], *, now: float, cause: SpanContext | None
) -> dict[str, object]:
    """The headers to publish again: no retries behind it, no time to wait for, no old deaths.

    When it expires goes, too: what is put back by hand is to run. RefusedError for protocol 1,
    whose number of attempts is in the body, which may be a pickle.
    """
    if "task" not in headers:
        raise RefusedError("protocol 1 keeps the number of attempts in its body, which stays shut")
    kept = {key: value for key, value in headers.items() if not key.startswith(_DEATH)}
    return {
        **kept,
        "retries": 0,
        "eta": None,
        "expires": None,
        CARRIER_KEY: carriers.renewed(headers, now=now, cause=cause),
    }
