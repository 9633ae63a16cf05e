"""Subclasses of the request classes that Celery makes for tasks."""

from __future__ import annotations

from types import MethodType
from typing import Any

from otel_queue_plugins.celery.deliveries import UnrecordedRuntime
from otel_queue_plugins.celery.main_process.pool_deliveries import IN_POOL_PROCESS
from otel_queue_plugins.celery.main_process.receipts import Receipts
from otel_queue_plugins.celery.main_process.requests import HAS_CUSTOM_BASE, Requests
from otel_queue_plugins.celery.main_process.settlements import Settlements
from otel_queue_plugins.celery.pools import is_prefork
from otel_queue_plugins.core.patching import Call, Wrapper
from otel_queue_plugins.core.safety import do_nothing, never_raises


class RequestClasses:
    """Makes a subclass whose requests get a receipt, and whose results are looked at."""

    def __init__(self, requests: Requests, receipts: Receipts, settlements: Settlements) -> None:
        self._requests = requests
        self._receipts = receipts
        self._settlements = settlements

    def create_request_cls(
        self, wrapped: Any, _instance: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Wrap `celery.worker.request.create_request_cls(base, task, pool, ...)`."""
        made = wrapped(*args, **kwargs)
        return self._subclass(made, *args, **kwargs) or made

    @never_raises(do_nothing)
    def _subclass(
        self, made: Any, base: Any, task: Any, pool: Any, *_: object, **__: object
    ) -> Any:
        from celery.worker.request import Request  # a megabyte that producers do without

        requests, on_success = self._requests, made.on_success
        pool_deliveries = requests.pool_deliveries

        def on_result(request: Any, pool_result: Any, **kwargs: Any) -> Any:
            unrecorded = type(pool_result) is tuple and type(pool_result[-1]) is UnrecordedRuntime
            if unrecorded or pool_deliveries.held:
                requests.record_result(request, pool_result, unrecorded=unrecorded)
            return on_success(request, pool_result, **kwargs)

        attributes = {
            "__module__": made.__module__,
            "execute_using_pool": self._receipts.with_receipt(made, task, pool),
            "on_success": on_result,
            # The pool gets them bound with each task, and binding a patched method costs much.
            "on_failure": _through(requests.on_failure, made.on_failure),
            "on_timeout": _through(requests.on_timeout, made.on_timeout),
            IN_POOL_PROCESS: is_prefork(pool),
            HAS_CUSTOM_BASE: base is not Request,
            **self._settlements.methods(made),
        }
        return type(made.__name__, (made,), attributes)


def _through(wrapper: Wrapper, method: Call) -> Call:
    """Return a method that calls `method`, of the base class, through `wrapper`."""

    def call(request: Any, *args: Any, **kwargs: Any) -> Any:
        return wrapper(MethodType(method, request), request, args, kwargs)

    return call
