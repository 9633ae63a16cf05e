"""Other tracers of Dramatiq in the same process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dramatiq import Actor

from otel_queue_plugins.core import other_tracers

if TYPE_CHECKING:
    from dramatiq import Broker


def active_tracers(broker: Broker) -> list[str]:
    """Return the names of other tracers that are called when a message of `broker` is sent or run.

    They are middleware, or wrappers of `Actor.send_with_options`.
    """
    wrappers = map(other_tracers.module_of, other_tracers.wrappers(Actor.send_with_options))
    middleware = (type(each).__module__ for each in broker.middleware)
    return other_tracers.titles([*wrappers, *middleware])
