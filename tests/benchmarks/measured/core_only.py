"""Our core without an adapter: what is left of our cost when reading a framework is free."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

from otel_queue_plugins.core.messages import SUCCEEDED, Delivery, Message, Route
from otel_queue_plugins.core.telemetry import QueueTelemetry
from otel_queue_plugins.sdk import fastpath


class CoreOnly:
    """Says the verbs around the same wrappers as the floor."""

    def __init__(self, framework: str) -> None:
        self._telemetry = QueueTelemetry(framework, fast_path=fastpath)
        self._route = Route(system="memory", destination="default", task="noop")

    def send(
        self, message_id: str, carrier: MutableMapping[str, Any], go: Callable[[], Any]
    ) -> Any:
        message = Message(route=self._route, id=message_id, conversation_id=message_id)
        operation = self._telemetry.start_send(message, carrier)
        result = go()
        self._telemetry.end_send(operation)
        return result

    def run(self, message_id: str, carrier: MutableMapping[str, Any], go: Callable[[], Any]) -> Any:
        delivery = Delivery(route=self._route, id=message_id, conversation_id=message_id)
        operation = self._telemetry.start_process(delivery, carrier)
        result = go()
        self._telemetry.end_process(operation, SUCCEEDED)
        return result
