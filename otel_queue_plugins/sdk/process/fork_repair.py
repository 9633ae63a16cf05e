"""Repair providers in a forked child, which has the parent's connections, locks and numbers.

All of this uses private names of the SDK (1.44 to 1.45); a name that a version does not have is
skipped. Nothing here waits for an inherited lock.
"""

from __future__ import annotations

# ruff: noqa: SLF001 - the SDK has no public way to do this
import copy
import sys
import threading
from typing import TYPE_CHECKING, Any

from otel_queue_plugins.sdk import instance_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# Where the API keeps the global provider of a signal; whether it was set is in `..._SET_ONCE`.
_GLOBALS = {
    "traces": ("opentelemetry.trace", "_TRACER_PROVIDER"),
    "metrics": ("opentelemetry.metrics._internal", "_METER_PROVIDER"),
    "logs": ("opentelemetry._logs._internal", "_LOGGER_PROVIDER"),
}
_PROCESSORS = ("_active_span_processor", "_multi_log_record_processor")
_OPAQUE = ("builtins", "collections", "_thread", "threading", "grpc", "logging", "weakref")
_MOST_VISITS = 300
_SECONDS_UNTIL_DEAD = 0.01
# Connections of the parent: to close them here, or to let them be collected, can block for ever.
_abandoned: list[object] = []


def repair(provider: Any, given_id: str | None) -> None:
    """In the child: give `provider` new connections and locks, empty series and its own id.

    `given_id` is the instance id that the user has set, None if it was generated.
    """
    consumer: Any = getattr(provider, "_measurement_consumer", None)
    reachable = list(_reachable(_roots(provider)))
    for holder in (provider, consumer, *_scopes(provider), *reachable):
        _unlock(holder)
    if given_id is not None:
        rename(provider, instance_id.of_child(given_id))
    for reader in _readers(provider):
        # Added anew, a reader has empty storage.
        consumer.remove_metric_reader(reader)
        consumer.add_metric_reader(reader)
        _restart(reader)
    for exporter in filter(_is_exporter, reachable):
        _reconnect(exporter)


def resource_of(provider: Any) -> Any:
    """The resource of a provider, None if it has none."""
    config = getattr(provider, "_sdk_config", None)
    return getattr(provider, "resource", None) or getattr(config, "resource", None)


def unset_global(signal: str, provider: object) -> None:
    """Make the API return its proxies for `signal` again, if its global provider is `provider`.

    The application may then set its own provider in this child. A version of the API that keeps the
    global provider under another name keeps `provider`.
    """
    name, attribute = _GLOBALS[signal]
    module: Any = sys.modules.get(name)
    once = getattr(module, f"{attribute}_SET_ONCE", None)
    if once is None or getattr(module, attribute, None) is not provider:
        return
    setattr(module, attribute, None)
    setattr(module, f"{attribute}_SET_ONCE", type(once)())
    proxy: Any = getattr(module, "_PROXY_METER_PROVIDER", None)
    if hasattr(proxy, "_real_meter_provider"):
        proxy._real_meter_provider = None


def rename(provider: Any, new_id: str) -> None:
    """Give `provider` another instance id."""
    from opentelemetry.sdk.resources import Resource

    update = getattr(provider, "_update_resource", None)
    if callable(update):
        update(Resource({instance_id.KEY: new_id}))


def _readers(provider: Any) -> list[Any]:
    consumer = getattr(provider, "_measurement_consumer", None)
    return list(getattr(consumer, "_reader_storages", ()))


def _roots(provider: Any) -> list[Any]:
    return [*(getattr(provider, name, None) for name in _PROCESSORS), *_readers(provider)]


def _scopes(provider: Any) -> Iterator[Any]:
    for name in ("_meters", "_tracers"):
        yield from getattr(provider, name, {}).values()


def _unlock(holder: Any) -> None:
    """Replace locks that a thread of the parent held at the fork: nobody will release them."""
    makers = {type(make()): make for make in (threading.Lock, threading.RLock)}
    for name, value in list(getattr(holder, "__dict__", {}).items()):
        make = makers.get(type(value))
        if make is not None and not _is_free(value):
            setattr(holder, name, make())


def _is_free(lock: Any, timeout: float = 0) -> bool:
    free: bool = lock.acquire(timeout=timeout)
    if free:
        lock.release()
    return free


def _restart(reader: Any) -> None:
    """Restart the reader's thread if the parent's held the lock of its event at the fork."""
    stopping: Any = getattr(reader, "_shutdown_event", None)
    lock = getattr(getattr(stopping, "_cond", None), "_lock", None)
    if lock is not None and not _is_free(lock, _SECONDS_UNTIL_DEAD):
        reader._shutdown_event = _fresh(stopping)
        reader._at_fork_reinit()


def _is_exporter(each: Any) -> bool:
    return callable(getattr(each, "export", None)) and callable(getattr(each, "shutdown", None))


def _reachable(roots: Iterable[object]) -> Iterator[object]:
    """All objects in attributes, lists and tuples of `roots`, at any depth."""
    waiting, seen = list(roots), set[int]()
    while waiting and len(seen) < _MOST_VISITS:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, (list, tuple)):
            waiting.extend(each)
        elif not type(each).__module__.startswith(_OPAQUE) and hasattr(each, "__dict__"):
            yield each
            waiting.extend(vars(each).values())


def _reconnect(exporter: Any) -> None:
    """Make `exporter` open a connection of its own at its first call in the child."""
    client = getattr(exporter, "_client", None)
    for holder in (exporter, client, getattr(client, "_transport", None)):
        for name, value in list(getattr(holder, "__dict__", {}).items()):
            if renew := _renewer(value):
                _abandoned.append(value)
                setattr(holder, name, renew(value))
    if _has_channel(exporter):
        _abandoned.append((getattr(exporter, "_channel", None), client))
        exporter._channel = None
        exporter._client = _ChannelAtFirstCall(exporter)


def _renewer(value: object) -> Callable[[Any], Any] | None:
    requests = sys.modules.get("requests")
    urllib3 = sys.modules.get("urllib3")
    if isinstance(value, threading.Event):
        return _fresh
    if requests is not None and isinstance(value, requests.Session):
        return copy.deepcopy
    if urllib3 is not None and isinstance(value, urllib3.PoolManager):
        return _fresh_pool
    return None


def _fresh(event: threading.Event) -> threading.Event:
    renewed = threading.Event()
    if event.is_set():
        renewed.set()
    return renewed


def _fresh_pool(pool: Any) -> Any:
    return type(pool)(headers=pool.headers, **pool.connection_pool_kw)


class _ChannelAtFirstCall:
    """Takes the place of a gRPC stub: a channel must not be made inside a fork."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter

    def Export(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802 - the stub's name
        self._exporter._initialize_channel_and_stub()
        return self._exporter._client.Export(*args, **kwargs)


def exports_over_grpc(provider: Any) -> bool:
    """Whether `provider` has an OTLP exporter over gRPC."""
    return any(_has_channel(each) for each in _reachable(_roots(provider)))


def _has_channel(each: Any) -> bool:
    return callable(getattr(each, "_initialize_channel_and_stub", None))


def keep_grpc_from_closing(providers: Iterable[Any]) -> None:
    """Keep gRPC from closing the channels of `providers` in a child.

    With GRPC_ENABLE_FORK_SUPPORT=1 it closes them, and hangs if the parent was inside a call.
    """
    cygrpc = sys.modules.get("grpc._cython.cygrpc")
    unregister = getattr(cygrpc, "fork_unregister_channel", None)
    if unregister is None:
        return
    for provider in providers:
        for exporter in filter(_is_exporter, _reachable(_roots(provider))):
            if (channel := getattr(exporter, "_channel", None)) is not None:
                unregister(channel)
