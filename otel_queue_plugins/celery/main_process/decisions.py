"""What Celery decides about a task whose process is lost."""

from __future__ import annotations

import weakref
from typing import Any

from otel_queue_plugins.celery import outcomes
from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Ending, Outcome
from otel_queue_plugins.core.safety import do_nothing, never_raises


def _lost() -> Ending:
    return Ending(outcome=Outcome.LOST)


class Decisions:
    """The endings that Celery has decided, by request; a later decision replaces an earlier one."""

    def __init__(self) -> None:
        self._endings: weakref.WeakKeyDictionary[Any, Ending] = weakref.WeakKeyDictionary()

    def success_was_stored(
        self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Wrap `Request._success_was_stored()`: a task may succeed before its process is lost."""
        stored = wrapped(*args, **kwargs)
        if stored:
            self._endings[request] = SUCCEEDED
        return stored

    def retry_worker_lost(
        self, wrapped: Any, request: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Wrap `Request._retry_worker_lost(exc, exc_info)`, which returns whether it retries."""
        retried = wrapped(*args, **kwargs)
        if retried:
            info = args[1] if len(args) > 1 else kwargs.get("exc_info")
            self._endings[request] = outcomes.of_lost_and_retried(info, request.task)
        return retried

    @never_raises(do_nothing)
    def set_cancelled(self, request: Any) -> None:
        """Decide on the ending of a task that Celery cancels, as its message is acknowledged now.

        Later Celery may try to acknowledge it in vain, as the connection is lost.
        """
        self._endings[request] = outcomes.of_cancelled(request)

    @never_raises(_lost)
    def ending_of(self, request: Any, delivery: Delivery, info: Any, signal: str) -> Ending:
        """Return the ending, once Celery has decided.

        `info` is the ExceptionInfo that the pool reported, None if it has not. `signal` is the name
        of the signal that the process was sent.
        """
        decided = self._endings.pop(request, None)
        return decided or outcomes.of_lost(info, request, delivery, f"terminated by {signal}")


def failure_arguments(
    exc_info: Any = None,
    _send_failed_event: object = True,  # noqa: FBT002 - as Celery has it
    return_ok: object = False,  # noqa: FBT002 - likewise
    *_: object,
    **__: object,
) -> tuple[Any, bool]:
    """Return `exc_info` and `return_ok` of a call of `Request.on_failure`."""
    return exc_info, bool(return_ok)


def revocation_arguments(
    reason: object = None,
    terminated: object = None,
    signum: Any = None,
    expired: object = None,
    *_: object,
    **__: object,
) -> tuple[object, object, Any, object]:
    """Return the arguments of a call of `Request._announce_revoked`."""
    return reason, terminated, signum, expired
