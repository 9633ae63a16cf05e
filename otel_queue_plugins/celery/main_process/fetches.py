"""Count and trace the polls of a worker, with the option `receive_spans` or the metric of polls.

Of the transports of kombu that poll: Redis, memory and others. RabbitMQ sends messages without
being asked. On Redis a poll waits for a message in all queues of the worker at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from queue import Empty
from typing import TYPE_CHECKING, Any, Final

from otel_queue_plugins.celery import broker, translation
from otel_queue_plugins.celery.destinations import queue_name
from otel_queue_plugins.core.messages import BrokerAddress, Fetch, FetchResult
from otel_queue_plugins.core.safety import do_nothing, never_raises

if TYPE_CHECKING:
    from otel_queue_plugins.core.telemetry import QueueTelemetry

_STARTED_AT: Final = "otel_queue_poll_started_at"


class Poll:
    """A poll that has not ended. `started_at` is in seconds since the epoch."""

    __slots__ = ("is_recorded", "started_at")

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self.is_recorded = False


_current_poll: Final[ContextVar[Poll | None]] = ContextVar("otel_queue_celery_poll", default=None)


class Fetches:
    """Wrappers of the functions of kombu that poll."""

    def __init__(self, telemetry: QueueTelemetry) -> None:
        self._telemetry = telemetry
        self._app: Any = None
        self._address = BrokerAddress(system="")

    @property
    def are_recorded(self) -> bool:
        """Whether polls are to be recorded at all."""
        return self._telemetry.wants_fetches

    def watch(self, app: Any) -> None:
        """Record the polls for the queues that `app` consumes."""
        self._app, self._address = app, broker.address_of(app, reading=True)

    def drain_events(self, wrapped: Any, channel: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `virtual.Channel.drain_events(timeout, callback)`, which asks and returns."""
        return self._poll(wrapped, channel, args, kwargs, time.time())

    def start(self, wrapped: Any, channel: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `redis.Channel._brpop_start(...)`, which asks; `_brpop_read` gets the answer."""
        setattr(channel, _STARTED_AT, time.time())
        return wrapped(*args, **kwargs)

    def read(self, wrapped: Any, channel: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `redis.Channel._brpop_read(...)`, which delivers a message or raises Empty."""
        started_at = getattr(channel, _STARTED_AT, None) or time.time()
        return self._poll(wrapped, channel, args, kwargs, started_at)

    def deliver(self, wrapped: Any, _transport: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Wrap `virtual.Transport._deliver(message, queue)`: the poll has returned a message."""
        poll = _current_poll.get()
        if poll is not None and not poll.is_recorded:
            self._record_message(poll, *args, **kwargs)
        return wrapped(*args, **kwargs)

    def _poll(
        self,
        call: Callable[..., Any],
        channel: Any,
        args: Any,
        kwargs: dict[str, Any],
        started_at: float,
    ) -> Any:
        poll = Poll(started_at)
        token = _current_poll.set(poll)
        try:
            return call(*args, **kwargs)
        except Empty:
            self._record_vain(poll, channel, "empty")
            raise
        except Exception:
            self._record_vain(poll, channel, "error")
            raise
        finally:
            _current_poll.reset(token)

    @never_raises(do_nothing)
    def _record_message(self, poll: Poll, message: Any, queue: Any, *_: object) -> None:
        poll.is_recorded = True
        consumed = self._consumed()
        if queue not in consumed:
            return
        headers = message.get("headers") if isinstance(message, Mapping) else None
        headers = headers if isinstance(headers, Mapping) else {}
        fetch = Fetch(
            broker=self._address,
            destination=queue_name(consumed[queue]),
            started_at=poll.started_at,
            result="message",
            size=1,
            carrier=headers,
            message_id=translation.identity(headers.get("id")),
        )
        self._telemetry.record_fetch(fetch)

    @never_raises(do_nothing)
    def _record_vain(self, poll: Poll, channel: Any, result: FetchResult) -> None:
        """Record a poll without a message: what is raised after one is none of the poll."""
        consumed = self._consumed()
        asked = [consumed[name] for name in set(channel._active_queues) if name in consumed]  # noqa: SLF001 - Redis has a public name for it, others do not
        if poll.is_recorded or not asked:
            return
        only = queue_name(asked[0]) if len(asked) == 1 else None
        self._telemetry.record_fetch(Fetch(self._address, only, poll.started_at, result))

    def _consumed(self) -> Mapping[str, Any]:
        queues: Mapping[str, Any] = self._app.amqp.queues.consume_from if self._app else {}
        return queues
