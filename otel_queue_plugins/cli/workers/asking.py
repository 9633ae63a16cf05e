"""Ask workers for the object of `/stats`: Celery's through the broker, others over HTTP.

A worker that does not run this package is known by its name alone.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from otel_queue_plugins.brokers.bounded import BoundedThread
from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.core.settings.kinds import HostPort

Stats = Mapping[str, Any]
"""The object of `/stats`."""

_T = TypeVar("_T")


class NoWorkerError(BrokerError):
    """Nobody answers at an address, or somebody who is no worker."""


_COMMAND: Final = "otel_queue"
_LONGEST_S: Final = 1.0
_KEYS: Final = (
    "versions",
    "pool",
    "capacity",
    "in_flight",
    "reserved",
    "scheduled",
    "longest_running_s",
    "processed",
    "retries",
    "dead_letters",
    "telemetry",
    "captured_at",
)
_WITHOUT: Final = "the worker does not run otel_queue_plugins"
_MOST_READ: Final = 1 << 22


def of_celery(app: Any, seconds: float) -> list[Stats]:
    """The objects of the workers of a Celery app that answer in time, by name.

    Celery does not say how many there are: who has not answered within a second is not waited for.
    Raises BrokerError.
    """
    wait = min(_LONGEST_S, seconds / 3)

    def ask(command: str) -> dict[str, Any]:
        with app.connection_for_write(connect_timeout=wait) as connection:
            replies = app.control.broadcast(
                command, reply=True, timeout=wait, connection=connection
            )
        return {name: answer for each in replies or () for name, answer in each.items()}

    stats, alive = _bounded(lambda: (ask(_COMMAND), ask("ping")), seconds)
    return [_celery_stats(name, stats.get(name)) for name in sorted(stats.keys() | alive.keys())]


def of_addresses(addresses: Sequence[HostPort], seconds: float) -> list[Stats]:
    """The objects of the workers that serve at `addresses`, in this order. Raises BrokerError."""
    deadline = time.monotonic() + seconds

    def left() -> float:
        return max(0.001, deadline - time.monotonic())

    return _bounded(lambda: [_over_http(each, left()) for each in addresses], seconds)


def _celery_stats(name: str, answer: Any) -> Stats:
    if isinstance(answer, Mapping) and "versions" in answer:
        return answer
    unknown = dict.fromkeys(_KEYS, _WITHOUT)
    return {
        "worker": name,
        "framework": "celery",
        **dict.fromkeys(_KEYS),
        "unknown": unknown,
    }


def _over_http(address: HostPort, seconds: float) -> Stats:
    place = f"{address.host}:{address.port}"
    connection = http.client.HTTPConnection(address.host, address.port, timeout=seconds)
    try:
        connection.request("GET", "/stats")
        with connection.getresponse() as reply:
            body = reply.read(_MOST_READ)
        found = json.loads(body) if reply.status == http.HTTPStatus.OK else None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise NoWorkerError(f"no worker answers at {place}: {reason}") from error
    finally:
        connection.close()
    if not isinstance(found, dict) or "versions" not in found:
        raise NoWorkerError(f"what answers at {place} is no worker with OTEL_QUEUE_HTTP")
    return found


def _bounded(call: Callable[[], _T], seconds: float) -> _T:
    """What `call` returns; BrokerError if it fails or takes longer."""
    thread = BoundedThread(lambda: None)
    try:
        return thread.call(call, seconds)
    except BrokerError:
        raise
    except TimeoutError as error:
        raise BrokerError(f"no answer in {seconds:g} s") from error
    except Exception as error:
        raise BrokerError(f"{type(error).__name__}: {error}") from error
    finally:
        thread.stop()
