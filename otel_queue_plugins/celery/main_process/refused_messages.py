"""Messages that a worker refuses: the task is unknown, or the message cannot be decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from otel_queue_plugins.celery import translation
from otel_queue_plugins.celery.collaborators import Collaborators
from otel_queue_plugins.celery.main_process.settlements import Settlements
from otel_queue_plugins.core.messages import Ending, Outcome
from otel_queue_plugins.core.operation import ProcessOperation
from otel_queue_plugins.core.safety import do_nothing, never_raises

_refusing: Final[ContextVar[Any]] = ContextVar("otel_queue_celery_refusing", default=None)
"""The message that is being refused."""


class Refusal(NamedTuple):
    """A message, and why it is refused. `name` and `id` are None if its headers have them."""

    message: Any
    ending: Ending
    name: str | None = None
    id: object = None


class RefusedMessages:
    """Wrappers and receivers for refused messages, each a delivery that ends at once.

    What Celery and code of users do about the message is inside the process span. Celery calls the
    wrappers only in consumers that start after `instrument`; the receivers are for the others.
    """

    def __init__(self, shared: Collaborators, settlements: Settlements) -> None:
        self._telemetry = shared.telemetry
        self._settlements = settlements
        self._routes = shared.routes
        self._covers = shared.covers

    def on_unknown_task(
        self, wrapped: Any, consumer: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Wrap `Consumer.on_unknown_task(body, message, exc)`."""
        return self._refuse(wrapped, consumer, args, kwargs, _unknown)

    def on_unreadable(self, wrapped: Any, consumer: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `Consumer.on_unknown_message(body, message)` and `.on_invalid_task(..., exc)`."""
        return self._refuse(wrapped, consumer, args, kwargs, _unreadable)

    def on_decode_error(
        self, wrapped: Any, consumer: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Wrap `Consumer.on_decode_error(message, exc)`."""
        return self._refuse(wrapped, consumer, args, kwargs, _undecodable)

    @never_raises(do_nothing)
    def task_unknown(self, sender: Any, message: Any, exc: Any, name: str, **kwargs: Any) -> None:
        """Record a message for a task that this worker does not have; Celery has rejected it."""
        self._record(
            sender.app, _unknown(None, message, exc)._replace(name=name, id=kwargs.get("id"))
        )

    @never_raises(do_nothing)
    def task_rejected(self, sender: Any, message: Any, exc: Any = None, **_: Any) -> None:
        """Record a message that is no task, or whose arguments are invalid."""
        self._record(sender.app, _unreadable(None, message, exc))

    def _refuse(
        self,
        wrapped: Any,
        consumer: Any,
        args: Any,
        kwargs: dict[str, Any],
        refusal_of: Callable[..., Refusal],
    ) -> Any:
        if not self._covers(consumer.app):
            return wrapped(*args, **kwargs)
        refusal = refusal_of(*args, **kwargs)
        operation = self._open(consumer.app, refusal)
        self._settlements.observe(refusal.message, operation)
        token = _refusing.set(refusal.message)
        try:
            with operation.inside():
                return wrapped(*args, **kwargs)
        finally:
            _refusing.reset(token)
            self._telemetry.end_process(operation, refusal.ending)

    def _record(self, app: Any, refusal: Refusal) -> None:
        if _refusing.get() is not refusal.message and self._covers(app):
            self._telemetry.end_process(self._open(app, refusal), refusal.ending)

    @never_raises(ProcessOperation)
    def _open(self, app: Any, refusal: Refusal) -> ProcessOperation:
        message = refusal.message
        headers = message.headers if isinstance(message.headers, dict) else {}
        request = {**headers, "delivery_info": message.delivery_info or {}}
        task_id = refusal.id or (message.properties or {}).get("correlation_id")
        request.setdefault("id", task_id or "")
        name = str(refusal.name or headers.get("task") or "unknown")
        delivery = translation.to_delivery(
            request, self._routes.of_request(app, name, request), None
        )
        return self._telemetry.open_process(delivery, translation.carrier(request))


def _unknown(_body: object = None, message: Any = None, exc: Any = None, *_: object) -> Refusal:
    reason = "task is not registered"
    ending = Ending(outcome=Outcome.UNKNOWN_TASK, error=exc, reason=reason)
    name, task_id = _name_and_id_in_body(message)
    return Refusal(message, ending, name, task_id)


def _unreadable(_body: object = None, message: Any = None, exc: Any = None, *_: object) -> Refusal:
    error = exc if isinstance(exc, BaseException) else None
    ending = Ending(outcome=Outcome.UNDECODABLE, error=error, reason="message is no task")
    return Refusal(message, ending)


def _undecodable(message: Any = None, exc: Any = None, *_: object) -> Refusal:
    return _unreadable(None, message, exc)


def _no_name() -> tuple[str | None, object]:
    return None, None


@never_raises(_no_name)
def _name_and_id_in_body(message: Any) -> tuple[str | None, object]:
    """Return name and id of a task in the body of its message (protocol 1); else None for both."""
    if isinstance(message.headers, Mapping) and "task" in message.headers:
        return None, None
    payload = message.payload
    return payload.get("task"), payload.get("id")
