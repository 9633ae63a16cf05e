"""The sending side: each call of `Celery.send_task` that publishes a message has a send span.

`send_task` is called for every message, and `send_task_message` of the app's `amqp` is called in it
with the headers and the queue. The signal `before_task_publish` has the same facts, but to call a
receiver costs four times as much.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Any, Final

from celery._state import get_current_task
from opentelemetry.context import get_current

from otel_queue_plugins.celery import arguments
from otel_queue_plugins.celery.collaborators import Collaborators
from otel_queue_plugins.celery.destinations import published_to, queue_name
from otel_queue_plugins.celery.translation import identity
from otel_queue_plugins.celery.workflow import find_place
from otel_queue_plugins.celery.workflow_starts import replaces
from otel_queue_plugins.core.api import suppression
from otel_queue_plugins.core.messages import Message
from otel_queue_plugins.core.operation import (
    ProcessOperation,
    SendOperation,
    current_delivery,
)
from otel_queue_plugins.core.options import check_relation
from otel_queue_plugins.core.patching import Observed, Switch, unwrap
from otel_queue_plugins.core.safety import do_nothing, log_failure, never_raises

_SENDER: Final = "send_task_message"


class Send:
    """One call of `send_task`.

    `started_at` is in seconds since the epoch. `operation` is None as long as there is no send
    span, `published` becomes True when Celery calls the broker client.
    """

    __slots__ = ("app", "operation", "options", "published", "relation", "started_at")

    def __init__(self, app: Any, options: dict[str, Any], relation: object) -> None:
        self.app = app
        self.options = options
        self.relation = relation
        self.started_at = time.time()
        self.operation: SendOperation | None = None
        self.published = False


_current_send: Final[ContextVar[Send | None]] = ContextVar("otel_queue_celery_send", default=None)


class Sends:
    """Wrappers of the functions that send.

    Args:
        shared: What the parts of the plugin use in common.
        relations: The relation of a task by its name, where it is not that of the options.
    """

    def __init__(self, shared: Collaborators, relations: Mapping[str, str]) -> None:
        self._telemetry = shared.telemetry
        self._routes = shared.routes
        self._covers = shared.covers
        self._relations = relations
        self._is_beat = False
        self._switch: Switch = [True]

    def send_task(self, wrapped: Any, app: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `Celery.send_task`: the send span lasts as long as the call."""
        relation = kwargs.pop("otel_relation", None)
        if not self._covers(app) or self._can_skip():
            return wrapped(*args, **kwargs)
        send = Send(app, kwargs, relation)
        token = _current_send.set(send)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as error:
            self._end_failed(send, args, kwargs, error)
            raise
        else:
            if send.operation is not None:
                self._telemetry.end_send(send.operation)
            return result
        finally:
            _current_send.reset(token)

    def beat_init(self, **_: Any) -> None:
        """Remember that this process runs beat. Before Celery 5.4 its messages do not say so."""
        self._is_beat = True

    def _can_skip(self) -> bool:
        """Whether telemetry is not recorded, and there is no context to inject."""
        if self._telemetry.connect() or current_delivery.get():
            return False
        return suppression.has_nothing_to_propagate(get_current())

    def create_task_sender(
        self, wrapped: Any, _amqp: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Wrap `AMQP._create_task_sender`, which makes the `send_task_message` of an app."""
        return self.observed(wrapped(*args, **kwargs))

    def observed(self, sender: Any) -> Any:
        """Return `sender`, a `send_task_message`, in a wrapper that starts the send span."""
        switch = self._switch

        def send_task_message(
            producer: Any, name: str, message: Any, *args: Any, **options: Any
        ) -> Any:
            send = _current_send.get()
            if switch and send is not None and not send.published:
                send.published = True
                try:
                    self._start(send, name, message, options)
                except Exception:  # noqa: BLE001 - as `never_raises`, for a third of the cost
                    log_failure("Sends._start")
            return sender(producer, name, message, *args, **options)

        return Observed(sender, send_task_message)

    def observe_existing(self, apps: Iterable[Any]) -> None:
        """Wrap the `send_task_message` of `apps` that have one already."""
        for amqp in _with_senders(apps):
            setattr(amqp, _SENDER, self.observed(getattr(amqp, _SENDER)))

    def uninstall(self, apps: Iterable[Any]) -> None:
        """Turn off all wrapped `send_task_message`, and give `apps` their own back."""
        self._switch.clear()
        for amqp in _with_senders(apps):
            unwrap(amqp, _SENDER)

    def _start(self, send: Send, name: str, message: Any, options: dict[str, Any]) -> None:
        """Start the send span, and inject its context into the headers of `message`."""
        headers, _, body, _ = message
        # Celery would write them over ours, and those of a retry are of the attempt before.
        if isinstance(options.get("headers"), dict):
            headers.update(options.pop("headers"))
        delivery = current_delivery.get()
        if delivery is None and not self._telemetry.connect():
            self._telemetry.write_current_context(headers)
            return
        facts = headers if "id" in headers else body  # protocol 2, protocol 1
        if delivery is not None and _is_retry(facts, delivery):
            self._telemetry.requeue(delivery, headers)
            return
        route = self._routes.find(send.app, name, *published_to(options), reading=False)
        if delivery is not None and replaces(facts):
            delivery.was_replaced = True
        place = find_place(facts, body, send.options, delivery)
        trigger = place.trigger
        if self._is_beat and delivery is None:
            trigger = "schedule"
        sent = Message(
            route,
            str(facts.get("id")),
            identity(facts.get("root_id")),
            None,  # Celery carries the ETA itself
            self._relation(send, name),
            trigger,
            place.workflow,
            place.membership,
            place.joins,
            None,  # arguments
            place.start,
        )
        if self._telemetry.wants_arguments:
            sent = sent._replace(arguments=arguments.of_body(send.app, name, body))
        send.operation = self._telemetry.start_send(sent, headers)

    @never_raises(do_nothing)
    def _end_failed(
        self, send: Send, args: Any, kwargs: dict[str, Any], error: BaseException
    ) -> None:
        """End the send span with `error`; start it first if `send_task_message` was not called."""
        if not send.published:
            name = str(args[0] if args else kwargs.get("name", ""))
            queue = kwargs.get("queue") or kwargs.get("routing_key") or ""
            route = self._routes.find(send.app, name, "", queue_name(queue), reading=False)
            message = Message(route=route, id=str(kwargs.get("task_id") or ""))
            send.operation = self._telemetry.start_send(message, {}, send.started_at)
        if send.operation is not None:
            self._telemetry.end_send(send.operation, error)

    def _relation(self, send: Send, name: str) -> str | None:
        """Return the relation of the call, of the task, or of `relations`; None for the option.

        An invalid one is logged and not used: a typo must not cost a message.
        """
        task = dict.get(send.app._tasks, name)  # noqa: SLF001 - see routes.function_name
        relation = _valid_relation(send.relation) or _valid_relation(
            getattr(task, "otel_relation", None)
        )
        return relation or self._relations.get(name)


def _with_senders(apps: Iterable[Any]) -> list[Any]:
    """Return the `amqp` of each of `apps` that has made its `send_task_message`."""
    made = [vars(app).get("amqp") for app in apps]
    return [each for each in made if _SENDER in getattr(each, "__dict__", {})]


def _valid_relation(value: object) -> str | None:
    try:
        return None if value is None else check_relation(value)
    except ValueError:
        log_failure(f"otel_relation={value!r:.40}")
        return None


def _is_retry(facts: Mapping[str, Any], operation: ProcessOperation) -> bool:
    """Whether a message is the next attempt of the delivery in progress.

    Celery counts on from the task's request, which the task may have changed. `Task.replace` sends
    another task with the same id; that one starts with no retries.
    """
    delivery, task, retries = operation.delivery, get_current_task(), facts.get("retries")
    if str(facts.get("id")) != delivery.id:
        return False
    if task is not None and str(task.request.id) == delivery.id:
        return bool(retries == task.request.retries + 1)
    return retries == delivery.attempt
