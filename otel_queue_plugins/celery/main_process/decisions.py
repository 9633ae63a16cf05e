"""What Celery decides about a task whose process is gone, in the process that receives messages."""

from __future__ import annotations

import weakref
from typing import Any

from otel_queue_plugins.celery import outcomes
from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Outcome
from otel_queue_plugins.core.safety import do_nothing, never_raises


def _lost() -> Ending:
    return Ending(outcome=Outcome.LOST)


class Decisions:
    """Endings by request (`celery.worker.request.Request`): the last word counts."""

    def __init__(self) -> None:
        self._endings: weakref.WeakKeyDictionary[Any, Ending] = weakref.WeakKeyDictionary()

    def success_was_stored(
        self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Around `Request._success_was_stored()`: a task may be done before its process is lost."""
        stored = wrapped(*args, **kwargs)
        if stored:
            self._endings[request] = SUCCEEDED
        return stored

    def retry_worker_lost(
        self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Around `Request._retry_worker_lost(exc, exc_info)`, which says whether it did."""
        retried = wrapped(*args, **kwargs)
        if retried:
            info = args[1] if len(args) > 1 else kwargs.get("exc_info")
            self._endings[request] = outcomes.of_lost_and_retried(info, request.task)
        return retried

    @never_raises(do_nothing)
    def cancelled(self, request: Any) -> None:
        """Whether Celery has let the message go counts now: soon it may try in vain."""
        self._endings[request] = outcomes.of_cancelled(request)

    @never_raises(_lost)
    def of(self, request: Any, delivery: Delivery, info: Any, sent: str) -> Ending:
        """The ending, once Celery has decided. `info` is what the pool reported, None if nothing.

        `sent` is the name of the signal that the process was sent.
        """
        decided = self._endings.pop(request, None)
        return decided or outcomes.of_lost(info, request, delivery, f"terminated by {sent}")


def failure(
    exc_info: Any = None,
    _send_failed_event: object = True,  # noqa: FBT002 - as Celery has it
    return_ok: object = False,  # noqa: FBT002 - likewise
    *_: object,
    **__: object,
) -> tuple[Any, bool]:
    """`exc_info` and `return_ok` of a call of `Request.on_failure`."""
    return exc_info, bool(return_ok)


def revocation(
    reason: object = None,
    terminated: object = None,
    signum: Any = None,
    expired: object = None,
    *_: object,
    **__: object,
) -> tuple[object, object, Any, object]:
    """The arguments of a call of `Request._announce_revoked`."""
    return reason, terminated, signum, expired
