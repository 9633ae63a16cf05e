"""A message is sent: `Celery.send_task` says when, what the app's `amqp` sends with says what.

The signal `before_task_publish` would say the same; calling a receiver costs four times as much.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, Final

from celery._state import get_current_task
from opentelemetry.context import get_current

from otel_queue_plugins.celery.routes import Routes, published_to, queue_name
from otel_queue_plugins.celery.translation import identity
from otel_queue_plugins.celery.workflow import place
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
from otel_queue_plugins.core.telemetry import QueueTelemetry

_SENDER: Final = "send_task_message"


class Sending:
    """One call of `send_task`, at `started_at` (seconds since the epoch).

    `operation` is None until, and unless, there is a send span.
    """

    __slots__ = ("app", "operation", "options", "published", "relation", "started_at")

    def __init__(self, app: Any, options: dict[str, Any], relation: object) -> None:
        self.app = app
        self.options = options
        self.relation = relation
        self.started_at = time.time()
        self.operation: SendOperation | None = None
        self.published = False


_sending: Final[ContextVar[Sending | None]] = ContextVar("otel_queue_celery_send", default=None)


class Publishing:
    """The send side of the plugin. `relations` maps task names to relations."""

    def __init__(
        self,
        telemetry: QueueTelemetry,
        routes: Routes,
        covers: Callable[[Any], bool],
        relations: Mapping[str, str],
    ) -> None:
        self._telemetry = telemetry
        self._routes = routes
        self._covers = covers
        self._relations = relations
        self._beats = False
        self._switch: Switch = [True]

    def send_task(self, wrapped: Any, app: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `Celery.send_task`: the span lasts as long as the call, however that ends."""
        relation = kwargs.pop("otel_relation", None)
        if not self._covers(app) or self._has_nothing_to_say():
            return wrapped(*args, **kwargs)
        sending = Sending(app, kwargs, relation)
        token = _sending.set(sending)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as error:
            self._failed(sending, args, kwargs, error)
            raise
        else:
            if sending.operation is not None:
                self._telemetry.end_send(sending.operation)
            return result
        finally:
            _sending.reset(token)

    def beat_init(self, **_: Any) -> None:
        """This process runs beat. Before Celery 5.4 its messages do not say that they are its."""
        self._beats = True

    def _has_nothing_to_say(self) -> bool:
        """Whether nobody collects telemetry, and there is no context to hand on."""
        if self._telemetry.connect() or current_delivery.get():
            return False
        return suppression.has_nothing_to_propagate(get_current())

    def create_task_sender(
        self, wrapped: Any, _amqp: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Around `AMQP._create_task_sender`, which makes the `send_task_message` of an app."""
        return self.observed(wrapped(*args, **kwargs))

    def observed(self, sender: Any) -> Any:
        """`sender`, a `send_task_message`, telling us what it is about to send."""
        switch = self._switch

        def send_task_message(
            producer: Any, name: str, message: Any, *args: Any, **options: Any
        ) -> Any:
            sending = _sending.get()
            if switch and sending is not None and not sending.published:
                sending.published = True
                try:
                    self._publish(sending, name, message, options)
                except Exception:  # noqa: BLE001 - as `never_raises` does, for a third of the cost
                    log_failure("Publishing._publish")
            return sender(producer, name, message, *args, **options)

        return Observed(sender, send_task_message)

    def observe_existing(self, apps: Iterable[Any]) -> None:
        """What was made before us, too."""
        for amqp in _with_senders(apps):
            setattr(amqp, _SENDER, self.observed(getattr(amqp, _SENDER)))

    def leave(self, apps: Iterable[Any]) -> None:
        """Do nothing any more in what apps send with, and give `apps` their own back."""
        self._switch.clear()
        for amqp in _with_senders(apps):
            unwrap(amqp, _SENDER)

    def _publish(self, sending: Sending, name: str, message: Any, options: dict[str, Any]) -> None:
        """Celery is about to hand a message to its broker client: start the span, write context."""
        headers, _, body, _ = message
        # Celery would put them over ours, and a retry has those of the attempt before.
        if isinstance(options.get("headers"), dict):
            headers.update(options.pop("headers"))
        delivery = current_delivery.get()
        if delivery is None and not self._telemetry.connect():
            self._telemetry.write_current_context(headers)
            return
        facts = headers if "id" in headers else body
        if delivery is not None and _is_retry(facts, delivery):
            self._telemetry.requeue(delivery, headers)
            return
        route = self._routes.find(sending.app, name, *published_to(options), reading=False)
        trigger, workflow, membership, joins = place(facts, body, sending.options, delivery)
        if self._beats and delivery is None:
            trigger = "schedule"
        sent = Message(
            route,
            str(facts.get("id")),
            identity(facts.get("root_id")),
            None,  # Celery carries the ETA itself
            self._relation(sending, name),
            trigger,
            workflow,
            membership,
            joins,
        )
        sending.operation = self._telemetry.start_send(sent, headers)

    @never_raises(do_nothing)
    def _failed(
        self, sending: Sending, args: Any, kwargs: dict[str, Any], error: BaseException
    ) -> None:
        """A send that raised before Celery told what it was about to send had a span due, too.

        It lasts as long as the attempt did.
        """
        if not sending.published:
            name = str(args[0] if args else kwargs.get("name", ""))
            queue = kwargs.get("queue") or kwargs.get("routing_key") or ""
            route = self._routes.find(sending.app, name, "", queue_name(queue), reading=False)
            message = Message(route=route, id=str(kwargs.get("task_id") or ""))
            sending.operation = self._telemetry.start_send(message, {}, sending.started_at)
        if sending.operation is not None:
            self._telemetry.end_send(sending.operation, error)

    def _relation(self, sending: Sending, task: str) -> str | None:
        """The call's own relation, the task's, the mapping's; None leaves it to the app's.

        What is none is logged and passed over: a typo must not cost a message.
        """
        known = dict.get(sending.app._tasks, task)  # noqa: SLF001 - see routes.function_name
        told = _relation_in(sending.relation) or _relation_in(getattr(known, "otel_relation", None))
        return told or self._relations.get(task)


def _with_senders(apps: Iterable[Any]) -> list[Any]:
    """The `amqp` of each of `apps` that has been asked for its `send_task_message`."""
    made = [vars(app).get("amqp") for app in apps]
    return [each for each in made if _SENDER in getattr(each, "__dict__", {})]


def _relation_in(value: object) -> str | None:
    try:
        return None if value is None else check_relation(value)
    except ValueError:
        log_failure(f"otel_relation={value!r:.40}")
        return None


def _is_retry(facts: Mapping[str, Any], operation: ProcessOperation) -> bool:
    """Whether a message is the next attempt of the delivery in progress.

    Celery counts on from what the task's request says by now, which the task may have written.
    `Task.replace` sends another task under the same id; that one starts with no retries.
    """
    delivery, task, retries = operation.delivery, get_current_task(), facts.get("retries")
    if str(facts.get("id")) != delivery.id:
        return False
    if task is not None and str(task.request.id) == delivery.id:
        return bool(retries == task.request.retries + 1)
    return retries == delivery.attempt
