"""The pika instrumentation is quiet where we ask for quiet; broker scenarios have the real one."""

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
    """What that package puts around received messages."""

    def popleft(self) -> Any:
        """A message, with its span."""
        return "span", self.__wrapped__.popleft()


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Received:
    """Three messages, received by an instrumented client."""
    module = ModuleType(MODULE)
    kind = type("ReadyMessagesDequeProxy", (Received,), {"popleft": Received.popleft})
    vars(module)["ReadyMessagesDequeProxy"] = kind
    monkeypatch.setitem(sys.modules, MODULE, module)
    return kind(deque([1, 2, 3]))


def test_received_messages_pass_by_where_it_is_quiet(received: Received) -> None:
    """And nowhere else; asking twice changes nothing."""
    consumers.suppress_pika_spans()
    consumers.suppress_pika_spans()
    assert received.popleft() == ("span", 1)
    token = suppress_instrumentation()
    assert received.popleft() == 2
    context.detach(token)
    assert received.popleft() == ("span", 3)


def test_nothing_is_done_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where it is not installed nor where it looks different."""
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    consumers.suppress_pika_spans()
    other = ModuleType(MODULE)
    monkeypatch.setitem(sys.modules, MODULE, other)
    before = dict(vars(other))
    consumers.suppress_pika_spans()
    assert vars(other) == before
