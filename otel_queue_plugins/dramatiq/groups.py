"""Groups are told apart from single messages only while they run: `group.run` is wrapped."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from dramatiq import group

from otel_queue_plugins.core.wrapping import wrap
from otel_queue_plugins.dramatiq import workflow

if TYPE_CHECKING:
    from dramatiq import Broker

_traced: Final[weakref.WeakSet[Broker]] = weakref.WeakSet()


def trace(broker: Broker) -> None:
    """See the groups of `broker` from now on."""
    _traced.add(broker)
    wrap(group, "run", _run)


def forget(broker: Broker) -> None:
    """Leave the groups of `broker` alone; with the last one `group` is as it was."""
    _traced.discard(broker)
    if not _traced:
        unwrap = wrap(group, "run", _run)
        unwrap()


def is_traced(broker: Broker) -> bool:
    """Whether a middleware of ours is in charge of `broker`."""
    return broker in _traced


def _run(
    run: Callable[..., group], members: group, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> group:
    if not is_traced(members.broker):
        return run(*args, **kwargs)
    with workflow.running(members), workflow.telling_callbacks_the_size(members):
        return run(*args, **kwargs)
