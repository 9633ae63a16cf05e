"""Groups are told apart from single messages only while they run: `group.run` is wrapped."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from dramatiq import __version__, group

from otel_queue_plugins.core.patching import TakeBack, apply
from otel_queue_plugins.dramatiq import patches, workflow

if TYPE_CHECKING:
    from dramatiq import Broker

_traced: Final[weakref.WeakSet[Broker]] = weakref.WeakSet()
_undo: Final[list[TakeBack]] = []


def trace(broker: Broker) -> None:
    """See the groups of `broker` from now on."""
    _traced.add(broker)
    if not _undo:
        _undo.extend(apply(patches.of_groups(_run), __version__))


def forget(broker: Broker) -> None:
    """Leave the groups of `broker` alone; with the last one `group` is as it was."""
    _traced.discard(broker)
    while _undo and not _traced:
        _undo.pop()()


def is_traced(broker: Broker) -> bool:
    """Whether a middleware of ours is in charge of `broker`."""
    return broker in _traced


def _run(
    run: Callable[..., group], members: group, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> group:
    """Around `group.run(...)`."""
    if not is_traced(members.broker):
        return run(*args, **kwargs)
    with workflow.running(members), workflow.telling_callbacks_the_size(members):
        return run(*args, **kwargs)
