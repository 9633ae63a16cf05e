"""Make opentelemetry-instrumentation-pika keep quiet where it is told to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

from opentelemetry import context

from otel_queue_plugins.core.api.suppression import LEGACY_KEY
from otel_queue_plugins.core.patching import apply
from otel_queue_plugins.dramatiq import patches

_MODULE: Final = "opentelemetry.instrumentation.pika.utils"


def respect_suppression() -> None:
    """Let received messages pass by where suppression is on, if pika is instrumented at all."""
    if _MODULE in sys.modules:
        package = sys.modules.get("opentelemetry.instrumentation.pika.version")
        apply(patches.of_pika(_popleft), getattr(package, "__version__", None))


def _popleft(
    popleft: Callable[..., Any], received: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Around `ReadyMessagesDequeProxy.popleft()`."""
    if context.get_value(LEGACY_KEY):
        return received.__wrapped__.popleft(*args, **kwargs)
    return popleft(*args, **kwargs)
