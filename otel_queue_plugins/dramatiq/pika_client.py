"""Make opentelemetry-instrumentation-pika keep quiet where it is told to.

Its wrapper around received messages forgets the suppression when a message carries a context, and
logs an AttributeError for each message that carries none (0.44 to 0.66 do).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

from opentelemetry import context

from otel_queue_plugins.core.api.suppression import LEGACY_KEY
from otel_queue_plugins.core.wrapping import wrap

_MODULE: Final = "opentelemetry.instrumentation.pika.utils"


def respect_suppression() -> None:
    """Let received messages pass by where suppression is on, if pika is instrumented at all."""
    proxy = getattr(sys.modules.get(_MODULE), "ReadyMessagesDequeProxy", None)
    if proxy is not None:
        wrap(proxy, "popleft", _popleft)


def _popleft(
    popleft: Callable[..., Any], received: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    if context.get_value(LEGACY_KEY):
        return received.__wrapped__.popleft(*args, **kwargs)
    return popleft(*args, **kwargs)
