"""What is replaced in Dramatiq: each function, what it is called through, since when, and why.

A version is the first that has the function; 1.17 is the oldest supported. Whatever else is done
is done with what Dramatiq offers: its middleware, and consumers of ours around its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_queue_plugins.core.patching import Patch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_queue_plugins.core.patching import Table, Wrapper


def of_broker(enqueue: Wrapper, consume: Wrapper) -> Mapping[str, Patch]:
    """For one broker that is instrumented, not for its class."""
    return {
        # Middleware is told before and after, but not if it raises.
        "enqueue": Patch(enqueue, "1.17", "how long a send takes, and its error"),
        "consume": Patch(consume, "1.17", "when a message arrives, and polls without spans"),
    }


def of_groups(run: Wrapper) -> Table:
    """While any broker is instrumented."""
    return {
        "dramatiq.composition:group": {
            "run": Patch(run, "1.17", "which messages are of one group"),
        },
    }


def of_all_brokers(construct: Wrapper) -> Table:
    """With `opentelemetry-instrument`, once Dramatiq has been imported."""
    return {
        "dramatiq.broker:Broker": {
            "__init__": Patch(construct, "1.17", "no public hook for a default middleware"),
        },
    }


def of_pika(popleft: Wrapper) -> Table:
    """Where opentelemetry-instrumentation-pika is in use, whose version counts here.

    Its wrapper around received messages forgets the suppression when a message carries a context,
    and logs an AttributeError for each message that carries none.
    """
    return {
        "opentelemetry.instrumentation.pika.utils:ReadyMessagesDequeProxy": {
            "popleft": Patch(popleft, "0.44", "respects suppression; up to 0.66 it does not"),
        },
    }
