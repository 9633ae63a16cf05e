"""One export over OTLP, and what is known about why it fails.

The SDK tells its exporters' callers no more than that they failed, and its loggers a text. Here the
facts are kept while an export is under way, for one line that says what to do.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from otel_queue_plugins.sdk.config.targets import Target

P = ParamSpec("P")
T = TypeVar("T")

_SUCCESS = "SUCCESS"


class Answer(NamedTuple):
    """What an HTTP server answered. `body` is its beginning."""

    status: int
    reason: str = ""
    location: str = ""
    body: str = ""


class Shipment:
    """An export that is under way, with the facts about its last attempt.

    `code` and `details` are those of gRPC; `text` is what the SDK said.
    """

    def __init__(self, target: Target, batch: object) -> None:
        self.target = target
        self.batch = batch
        self.started = time.monotonic()
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self.code = self.details = self.text = ""

    def items(self) -> int:
        """How many spans or log records; metrics count as one."""
        batch: Any = self.batch
        return len(batch) if self.target.signal != "metrics" else 1

    def answered(self, answer: Answer) -> None:
        """A server has answered."""
        self.answer, self.error = answer, None

    def failed(self, error: BaseException) -> None:
        """There was no answer, and this is why."""
        self.answer, self.error = None, error


_under_way: ContextVar[Shipment | None] = ContextVar("otel_queue_shipment", default=None)
_all_under_way: set[Shipment] = set()


def current() -> Shipment | None:
    """The one that the running code belongs to."""
    return _under_way.get()


def all_under_way() -> list[Shipment]:
    """Those of this process, in all threads."""
    return list(_all_under_way)


def forget() -> None:
    """In a forked child, where none is under way."""
    _all_under_way.clear()


def watched(
    export: Callable[[Sized], T], target: Target, given_up: Callable[[Shipment], None]
) -> Callable[..., T]:
    """`export` to `target`; `given_up` is called after it has failed."""

    def call(batch: Sized, *args: Any, **kwargs: Any) -> T:
        shipment = Shipment(target, batch)
        _all_under_way.add(shipment)
        token = _under_way.set(shipment)
        try:
            result = export(batch, *args, **kwargs)
        finally:
            _under_way.reset(token)
            _all_under_way.discard(shipment)
        if getattr(result, "name", _SUCCESS) != _SUCCESS:
            given_up(shipment)
        return result

    return call
