"""The table of patches: each function of Dramatiq, its wrapper, since which version, and why.

A version is the first that has the function; 1.17 is the oldest supported. Everything else uses
Dramatiq's public API: the hooks of a middleware, and consumers around those of the broker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_queue_plugins.core.patching import Patch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_queue_plugins.core.patching import Table, Wrapper


def of_broker(enqueue: Wrapper, consume: Wrapper) -> Mapping[str, Patch]:
    """Patches of one instrumented broker, not of its class."""
    return {
        # The hook `after_enqueue` is not called when `enqueue` raises.
        "enqueue": Patch(enqueue, "1.17", "the duration of a send, and its error"),
        "consume": Patch(consume, "1.17", "the time of receipt, and polls without client spans"),
    }


def of_groups(run: Wrapper) -> Table:
    """Patches in place while any broker is instrumented."""
    return {
        "dramatiq.composition:group": {
            "run": Patch(run, "1.17", "which messages belong to one group"),
        },
    }


def of_all_brokers(construct: Wrapper) -> Table:
    """Patches with `opentelemetry-instrument`, once Dramatiq has been imported."""
    return {
        "dramatiq.broker:Broker": {
            "__init__": Patch(construct, "1.17", "no public hook for a default middleware"),
        },
    }


def of_pika(popleft: Wrapper) -> Table:
    """Patches of opentelemetry-instrumentation-pika; the version is that of this package.

    Its wrapper of received messages ignores suppression if a message carries a context, and logs
    an AttributeError if it carries none.
    """
    return {
        "opentelemetry.instrumentation.pika.utils:ReadyMessagesDequeProxy": {
            "popleft": Patch(popleft, "0.44", "respects suppression; up to 0.66 it does not"),
        },
    }
