"""Numbers of a queue, or reasons why there is none: one or the other, never neither."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otel_queue_plugins.brokers.facts import QueueState


@dataclass(frozen=True, slots=True)
class Unknown:
    """The reason why a number is not known."""

    reason: str


NO_TIME_OF_CELERY: Final = Unknown(
    "the message does not say when it was sent: its sender does not use this package, or exports "
    "nothing"
)
NO_TIME_OF_DRAMATIQ: Final = Unknown("the oldest message says no time, or it is not JSON")

Count = int | Unknown
Age = float | Unknown


def queue_state(
    name: str,
    system: str,
    *,
    ready: Count,
    delayed: Count,
    unacked: Count,
    dead: Count,
    oldest_age_s: Age,
    oldest_unacked_age_s: Age,
    abandoned: Count,
    consumers: Count,
) -> QueueState:
    """The state of a queue, with each unknown number as None and its reason in `unknown`."""
    counts = {
        "ready": ready,
        "delayed": delayed,
        "unacked": unacked,
        "dead": dead,
        "abandoned": abandoned,
        "consumers": consumers,
    }
    ages = {"oldest_age_s": oldest_age_s, "oldest_unacked_age_s": oldest_unacked_age_s}
    unknown = {
        field: answer.reason
        for field, answer in (counts | ages).items()
        if isinstance(answer, Unknown)
    }
    return QueueState(
        name=name,
        system=system,
        unknown=unknown,
        **{field: _number(answer) for field, answer in counts.items()},
        oldest_age_s=_seconds(oldest_age_s),
        oldest_unacked_age_s=_seconds(oldest_unacked_age_s),
    )


def all_unknown(name: str, system: str, reason: str) -> QueueState:
    """The state of a queue of which nothing can be known."""
    why = Unknown(reason)
    return queue_state(
        name,
        system,
        ready=why,
        delayed=why,
        unacked=why,
        dead=why,
        oldest_age_s=why,
        oldest_unacked_age_s=why,
        abandoned=why,
        consumers=why,
    )


def _number(answer: Count) -> int | None:
    return None if isinstance(answer, Unknown) else max(0, answer)


def _seconds(answer: Age) -> float | None:
    return None if isinstance(answer, Unknown) else max(0.0, answer)
