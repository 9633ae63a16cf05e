"""`QueueTracer`: traces and metrics of one queue, in the words of who sends and who works."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from otel_queue_plugins import sdk
from otel_queue_plugins.any_queue import values
from otel_queue_plugins.any_queue.deliveries import Delivering
from otel_queue_plugins.any_queue.sends import Sending
from otel_queue_plugins.any_queue.values import Time
from otel_queue_plugins.core.messages import Delivery, Message, Route
from otel_queue_plugins.core.options import Options, check_names, check_providers
from otel_queue_plugins.core.policy.arguments import Arguments
from otel_queue_plugins.core.telemetry import QueueTelemetry
from otel_queue_plugins.sdk import fastpath

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

MAX_ROUTES: Final = 4096
Id = str | int | UUID | None


class QueueTracer:
    """Traces and measures what is sent to a queue and processed from it.

    Make one for each kind of queue and process, and keep it. It may be made before a fork and used
    in any thread or asyncio task.

    Args:
        name: The name of your queue's code, for `taskqueue.framework`.
        system: The broker: `redis`, `rabbitmq`, `kafka`, `aws_sqs`, ...
        server_address: The host of the broker; None if unknown.
        server_port: Its port; None if unknown.
        tracer_provider: Where spans go. None is the global provider, which is set up from `OTEL_*`
            when it is first needed, if nobody has set one by then.
        meter_provider: Where measurements go; None as for `tracer_provider`.
        **options: Fields of `Options`. One that is not given comes from its `OTEL_QUEUE_*`
            variable.

    Raises:
        ValueError: An argument or an option has a wrong value.
        TypeError: There is no option of that name.
        otel_queue_plugins.sdk.ConfigurationError: A variable is wrong, and `OTEL_QUEUE_STRICT` is
            `true`.
    """

    def __init__(
        self,
        name: str,
        *,
        system: str,
        server_address: str | None = None,
        server_port: int | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        **options: Any,
    ) -> None:
        _check_text("name", name)
        _check_text("system", system)
        if server_address is not None:
            _check_text("server_address", server_address)
        if server_port is not None and (
            not isinstance(server_port, int) or isinstance(server_port, bool)
        ):
            raise ValueError(f"server_port: {server_port!r} is not a number")
        check_names(options, "server_address", "server_port")
        check_providers(tracer_provider, meter_provider)
        sdk.validate(os.environ)
        chosen = Options.from_environ(os.environ, **options)
        self._server = (system, server_address, server_port)
        self._routes: dict[tuple[str, str, str | None], Route] = {}
        self._telemetry = QueueTelemetry(
            name,
            options=chosen,
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
            set_up=sdk.ensure_providers,
            fast_path=fastpath,
        )
        sdk.log_privacy.redact(chosen.redact)
        if chosen.log_correlation:
            sdk.enable_log_correlation()
        if chosen.log_trace_url:
            sdk.enable_log_trace_url()
        sdk.set_up_on_first_use()

    def send(
        self,
        *,
        task: str,
        destination: str,
        message_id: Id = None,
        headers: Mapping[str, str] | None = None,
        eta: Time | None = None,
        conversation_id: str | None = None,
        relation: str | None = None,
        function: Callable[..., Any] | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Sending:
        """Trace the sending of one message: `with queue.send(...) as send: push(send.headers)`.

        An exception that leaves the block is the error of the send, and is raised on.

        Args:
            task: The name of the work.
            destination: The queue, by the name that its users know.
            message_id: The id of the message; None for a new one, in `send.message_id`.
            headers: Headers of your own, which `send.headers` has, too.
            eta: The earliest start, as a `datetime` or in seconds since the epoch.
            conversation_id: The id of the first message of all that belong together.
            relation: `child`, `link`, `none` or `auto`, for this message; None for the option.
            function: The Python function of the task, if this process has it.
            args: Its arguments, for `correlation`.
            kwargs: Its arguments by name.

        Returns:
            A context manager, for `with` and `async with`.
        """
        sending = Sending(self._telemetry, message_id, headers)
        sending.message = Message(
            route=self._route(destination, task, function),
            id=sending.message_id,
            conversation_id=values.text_or_none(conversation_id),
            eta=values.seconds(eta),
            relation=values.relation(relation),
            arguments=self._arguments(function, args, kwargs),
        )
        return sending

    def process(
        self,
        *,
        task: str,
        destination: str,
        message_id: Id = None,
        headers: object = None,
        attempt: int = 1,
        max_attempts: int | None = None,
        priority: int | None = None,
        enqueued_at: Time | None = None,
        eta: Time | None = None,
        expires_at: Time | None = None,
        received_at: Time | None = None,
        redelivered: bool = False,
        worker_name: str | None = None,
        conversation_id: str | None = None,
        expected: type[BaseException] | tuple[type[BaseException], ...] = (),
        function: Callable[..., Any] | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Delivering:
        """Trace one delivery: `with queue.process(..., headers=headers) as delivery: work()`.

        A block that ends is a success; an exception that leaves it is a failure, and is raised on;
        the methods of `delivery` say what else became of the message. Values of a wrong type
        count as unknown: they come from messages.

        Args:
            task: The name of the work.
            destination: The queue, by the name that its users know.
            message_id: The id of the message.
            headers: What came with the message: a mapping or pairs; None if nothing did.
            attempt: Which delivery of this message it is; the first is 1.
            max_attempts: How many there may be; None without a bound.
            priority: The priority of the message.
            enqueued_at: When the message was sent, if the sender was not traced. Times are
                `datetime` objects, or seconds since the epoch.
            eta: Its earliest start, if the broker knows it.
            expires_at: When it is too old.
            received_at: When this process got it.
            redelivered: Whether the broker delivers it again.
            worker_name: Who this worker is.
            conversation_id: The id of the first message of all that belong together.
            expected: Exceptions that are a failure but no error.
            function: The Python function of the task.
            args: Its arguments, for `correlation`.
            kwargs: Its arguments by name.

        Returns:
            A context manager, for `with` and `async with`.
        """
        delivery = Delivery(
            route=self._route(destination, task, function),
            id=values.text(message_id),
            conversation_id=values.text_or_none(conversation_id),
            attempt=max(values.whole(attempt) or 1, 1),
            max_attempts=values.whole(max_attempts),
            priority=values.whole(priority),
            eta=values.seconds(eta),
            expires_at=values.seconds(expires_at),
            enqueued_at=values.seconds(enqueued_at),
            received_at=values.seconds(received_at),
            redelivered=redelivered is True,
            worker_name=values.text_or_none(worker_name),
            arguments=self._arguments(function, args, kwargs),
        )
        return Delivering(self._telemetry, delivery, values.headers(headers), expected)

    def _route(self, destination: object, task: object, function: Any) -> Route:
        key = (values.text(destination), values.text(task), values.function_name(function))
        found = self._routes.get(key)
        if found is None:
            system, address, port = self._server
            found = Route(
                system=system,
                destination=key[0],
                task=key[1],
                server_address=address,
                server_port=port,
                function=key[2],
            )
            if len(self._routes) < MAX_ROUTES:  # names may come from messages
                self._routes[key] = found
        return found

    def _arguments(self, function: Any, args: Any, kwargs: Any) -> Arguments | None:
        if not self._telemetry.wants_arguments:
            return None
        return Arguments(args or (), kwargs or {}, function)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name}: {value!r} is not a name")
