"""One message being sent, as a context manager."""

from __future__ import annotations

import uuid
from types import TracebackType
from typing import TYPE_CHECKING, Any

from otel_queue_plugins.any_queue import values
from otel_queue_plugins.core.messages import Message

if TYPE_CHECKING:
    from typing_extensions import Self

    from otel_queue_plugins.core.telemetry import QueueTelemetry


class Sending:
    """A message that is sent inside the `with` block; `QueueTracer.send` makes it.

    `headers` is what the message is to carry, filled in when the block begins. `message_id` is the
    id of the message.
    """

    message: Message

    def __init__(self, telemetry: QueueTelemetry, message_id: object, headers: object) -> None:
        self.message_id = values.text(message_id) or uuid.uuid4().hex
        self.headers: dict[str, str] = values.strings(values.headers(headers))
        self._telemetry = telemetry

    def __enter__(self) -> Self:
        carrier: dict[str, Any] = self.headers
        self._operation = self._telemetry.start_send(self.message, carrier)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._telemetry.end_send(self._operation, error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)
