"""A message is sent: `Celery.send_task` says when, `before_task_publish` says what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final

from otel_queue_plugins.celery.canvas import place
from otel_queue_plugins.celery.routes import Routes
from otel_queue_plugins.core.guard import complain, never_raises, nothing
from otel_queue_plugins.core.messages import Message
from otel_queue_plugins.core.operation import ProcessOperation, SendOperation, current_delivery
from otel_queue_plugins.core.options import check_relation
from otel_queue_plugins.core.telemetry import QueueTelemetry


class Sending:
    """One call of `send_task`. `operation` is None until, and unless, there is a send span."""

    __slots__ = ("app", "operation", "options", "published", "relation")

    def __init__(self, app: Any, options: dict[str, Any], relation: object) -> None:
        self.app = app
        self.options = options
        self.relation = relation
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

    def send_task(self, wrapped: Any, app: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Around `Celery.send_task`: the span lasts as long as the call, however that ends."""
        relation = kwargs.pop("otel_relation", None)
        if not self._covers(app):
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

    @never_raises(nothing)
    def before_task_publish(
        self,
        sender: str,
        headers: dict[str, Any],
        body: Any,
        exchange: Any = "",
        routing_key: str = "",
        **_: Any,
    ) -> None:
        """Celery is about to hand a message to its broker client: start the span, write context."""
        sending = _sending.get()
        if sending is None or sending.published:
            return
        sending.published = True
        delivery = current_delivery.get()
        if delivery is None and not self._telemetry.connect():
            self._telemetry.hand_on(headers)
            return
        facts = headers if "id" in headers else body
        if delivery is not None and _is_retry(facts, delivery):
            self._telemetry.requeue(delivery, headers)
            return
        route = self._routes.find(sending.app, sender, exchange, routing_key, reading=False)
        trigger, workflow, membership, joins = place(facts, body, sending.options, delivery)
        if self._beats and delivery is None:
            trigger = "schedule"
        message = Message(
            route=route,
            id=str(facts.get("id")),
            conversation_id=facts.get("root_id"),
            relation=self._relation(sending, sender),
            trigger=trigger,
            workflow=workflow,
            membership=membership,
            joins=joins,
        )
        sending.operation = self._telemetry.start_send(message, headers)

    @never_raises(nothing)
    def _failed(
        self, sending: Sending, args: Any, kwargs: dict[str, Any], error: BaseException
    ) -> None:
        """A send that raised before Celery told what it was about to send had a span due, too."""
        if not sending.published:
            name = str(args[0] if args else kwargs.get("name", ""))
            queue = kwargs.get("queue") or kwargs.get("routing_key") or ""
            route = self._routes.find(
                sending.app, name, "", getattr(queue, "name", queue), reading=False
            )
            message = Message(route=route, id=str(kwargs.get("task_id") or ""))
            sending.operation = self._telemetry.start_send(message, {})
        if sending.operation is not None:
            self._telemetry.end_send(sending.operation, error)

    def _relation(self, sending: Sending, task: str) -> str | None:
        """The call's own relation, the task's, the mapping's; None leaves it to the app's.

        What is none is logged and passed over: a typo must not cost a message.
        """
        known = dict.get(sending.app._tasks, task)  # noqa: SLF001 - see routes.function_name
        told = _relation_in(sending.relation) or _relation_in(getattr(known, "otel_relation", None))
        return told or self._relations.get(task)


def _relation_in(value: object) -> str | None:
    try:
        return None if value is None else check_relation(value)
    except ValueError:
        complain(f"otel_relation={value!r:.40}")
        return None


def _is_retry(facts: Mapping[str, Any], operation: ProcessOperation) -> bool:
    """Whether a message is the next attempt of the delivery in progress.

    `Task.replace` sends another task under the same id; that one starts with no retries.
    """
    delivery = operation.delivery
    return facts.get("id") == delivery.id and facts.get("retries") == delivery.attempt
