"""What an outcome means: which are errors, which are final, which are cancellations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from otel_queue_plugins.core import exceptions
from otel_queue_plugins.core.messages import SUCCEEDED, CancellationScope, Ending, Outcome

# Bound once: the members of an Enum are slow to reach in Python 3.11.
SUCCESS: Final = SUCCEEDED.outcome

ERRORS: Final = frozenset(
    {
        Outcome.FAILURE,
        Outcome.DEAD_LETTER,
        Outcome.REJECTED,
        Outcome.TIMEOUT,
        Outcome.LOST,
        Outcome.UNKNOWN_TASK,
        Outcome.UNDECODABLE,
    }
)
FINAL: Final = frozenset(Outcome) - {Outcome.RETRY, Outcome.REQUEUED}

_CANCELLATIONS: Final[Mapping[Outcome, CancellationScope]] = {
    Outcome.REVOKED: "revoked",
    Outcome.EXPIRED: "expired",
    Outcome.SKIPPED: "skipped",
}


def error_type(ending: Ending) -> str | None:
    """The value of `error.type`; None unless the outcome is an error."""
    if ending.outcome not in ERRORS:
        return None
    return exceptions.type_name(ending.error) if ending.error else ending.outcome.value


def cancellation(ending: Ending) -> CancellationScope | None:
    """The value of `taskqueue.cancellation.scope`; None if the delivery was not cancelled."""
    return ending.cancellation or _CANCELLATIONS.get(ending.outcome)
