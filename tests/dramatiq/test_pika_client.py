"""opentelemetry-instrumentation-pika respects suppression; tests/brokers has the real package."""

from __future__ import annotations

import sys
from collections import deque
from types import ModuleType
from typing import Any

import pytest
import wrapt
from opentelemetry import context

from otel_queue_plugins.core.api.suppression import suppress_instrumentation
from otel_queue_plugins.dramatiq import consumers

MODULE = "opentelemetry.instrumentation.pika.utils"


class Received(wrapt.ObjectProxy):  # type: ignore[misc]
    """Stands for the proxy that the package puts around received messages."""

    def popleft(self) -> Any:
        """Return a message, with its span."""
        return "span", self.__wrapped__.popleft()


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Received:
    """Three messages, received by an instrumented client."""
    module = ModuleType(MODULE)
    kind = type("ReadyMessagesDequeProxy", (Received,), {"popleft": Received.popleft})
    vars(module)["ReadyMessagesDequeProxy"] = kind
    monkeypatch.setitem(sys.modules, MODULE, module)
    return kind(deque([1, 2, 3]))


def test_received_messages_with_suppression_have_no_span(received: Received) -> None:
    """Without suppression they have one; calling it twice changes nothing."""
    consumers.suppress_pika_spans()
    consumers.suppress_pika_spans()
    assert received.popleft() == ("span", 1)
    token = suppress_instrumentation()
    assert received.popleft() == 2
    context.detach(token)
    assert received.popleft() == ("span", 3)


def test_suppression_without_pika_instrumentation_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither a missing module nor one with other names is changed."""
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    consumers.suppress_pika_spans()
    other = ModuleType(MODULE)
    monkeypatch.setitem(sys.modules, MODULE, other)
    before = dict(vars(other))
    consumers.suppress_pika_spans()
    assert vars(other) == before
