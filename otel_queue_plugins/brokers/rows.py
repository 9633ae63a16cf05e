"""Queues and messages as the rows of `otel-queue queues --json` and `peek --json`."""

from __future__ import annotations

from datetime import datetime, timezone

from otel_queue_plugins.brokers.facts import QueueState, StoredMessage

Row = dict[str, object]

_NUMBERS = ("ready", "delayed", "unacked", "dead", "oldest_age_s", "consumers")


def queue_row(state: QueueState) -> Row:
    """A queue; a number is null if and only if `unknown` has the reason."""
    return {
        "name": state.name,
        "system": state.system,
        **{name: getattr(state, name) for name in _NUMBERS},
        "unknown": {name: state.unknown[name] for name in _NUMBERS if name in state.unknown},
    }


def message_row(message: StoredMessage, now: float) -> Row:
    """A message without its arguments. `trace_url` is null until somebody fills it in."""
    creation, workflow = message.creation, message.workflow
    return {
        "id": message.id,
        "task": message.task,
        "queue": message.queue,
        "state": message.state,
        "attempt": message.attempt,
        "max_attempts": message.max_attempts,
        "enqueued_at": rfc3339(message.enqueued_at),
        "eta": rfc3339(message.eta),
        "expires_at": rfc3339(message.expires_at),
        "age_s": message.age(now),
        "priority": message.priority,
        "size_bytes": message.size_bytes,
        "trace_id": f"{creation.trace_id:032x}" if creation else None,
        "span_id": f"{creation.span_id:016x}" if creation else None,
        "sampled": creation.trace_flags.sampled if creation else None,
        "trace_url": None,
        "baggage": dict(message.baggage),
        "workflow": workflow
        and {"kind": workflow.kind, "id": workflow.id or None, "step": workflow.step},
    }


def rfc3339(seconds: float | None) -> str | None:
    """A time (seconds since the epoch) as text, in UTC; None for None and for what is no time."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, tz=timezone.utc).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return None
