"""Dramatiq's messages: JSON with everything in it, unless the app has an encoder of its own.

What is not JSON is shown by its size alone: no encoder of anybody's is called.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from opentelemetry.trace import SpanContext

from otel_queue_plugins.brokers.errors import RefusedError
from otel_queue_plugins.brokers.facts import State, StoredMessage
from otel_queue_plugins.brokers.formats import carriers
from otel_queue_plugins.brokers.formats.values import mapping, number, parsed, seconds, text
from otel_queue_plugins.core.messages import Workflow
from otel_queue_plugins.core.semconv import CARRIER_KEY

Facts = Mapping[str, object]
Attempts = Callable[[str], int | None]

CARRIER: Final = "otel"
_OF_ATTEMPTS: Final = ("retries", "traceback", "requeue_timestamp", "eta")
_FAMILY: Final = (".DQ", ".XQ")


def no_limit(_actor: str) -> int | None:
    """For who does not know the actors: most messages do not say how often they are tried."""
    return None


def canonical(queue: str) -> str:
    """The name that users know of a queue, of its delay queue or its dead-letter queue."""
    return queue[:-3] if queue.endswith(_FAMILY) else queue


def message(
    raw: bytes,
    *,
    queue: str,
    state: State,
    place: object = None,
    died_at: float | None = None,
    redelivered: bool = False,
    max_attempts: Attempts = no_limit,
) -> StoredMessage:
    """The facts of a message. Values of another type than Dramatiq's count as absent."""
    facts = mapping(parsed(raw))
    options = mapping(facts.get("options"))
    carried = carriers.read(mapping(options.get(CARRIER)))
    actor, said = text(facts.get("actor_name")) or "", carried.envelope
    created_at = seconds(facts.get("message_timestamp"))
    enqueued_at = seconds(options.get("requeue_timestamp")) or created_at
    limit, max_age = number(options.get("max_retries")), seconds(options.get("max_age"))
    return StoredMessage(
        id=text(facts.get("message_id")) or "",
        task=actor,
        queue=queue,
        state=state,
        attempt=max(0, number(options.get("retries")) or 0) + 1,
        max_attempts=max_attempts(actor) if limit is None else limit + 1,
        enqueued_at=said.enqueued_at if said else enqueued_at,
        eta=seconds(options.get("eta")) or (said.eta if said else None),
        expires_at=created_at + max_age if created_at and max_age else None,
        died_at=died_at,
        priority=number(options.get("broker_priority")),
        size_bytes=len(raw),
        redelivered=redelivered,
        creation=carried.creation,
        baggage=carried.baggage,
        workflow=(said.workflow if said else None) or _workflow(options),
        headers={**options, "message_timestamp": facts.get("message_timestamp")} if facts else {},
        arguments={key: facts[key] for key in ("args", "kwargs") if key in facts},
        raw=raw,
        place=place,
    )


def renewed(
    raw: bytes, *, queue: str, now: float, cause: SpanContext | None, **options: str
) -> bytes:
    """The message in `raw` with all attempts before it again, enqueued at `now` on `queue`.

    Its age starts anew, else a limit of age would skip it. `options` are added to its own.
    RefusedError if it is not JSON.
    """
    facts = parsed(raw)
    if not isinstance(facts, dict) or not isinstance(facts.get("options"), dict):
        raise RefusedError("it is not JSON; messages of other encoders are not opened")
    kept = {key: value for key, value in facts["options"].items() if key not in _OF_ATTEMPTS}
    carrier = mapping(kept.get(CARRIER))
    kept[CARRIER] = {**carrier, CARRIER_KEY: carriers.renewed(carrier, now=now, cause=cause)}
    again = {
        **facts,
        "queue_name": queue,
        "message_timestamp": round(now * 1000),
        "options": {**kept, **options},
    }
    return json.dumps(again, separators=(",", ":")).encode()


def _workflow(options: Facts) -> Workflow | None:
    group = text(options.get("group_completion_uuid"))
    return Workflow(kind="group", id=group) if group else None
