"""One exporter for all processes of a worker, where a pool is forked from one that lasts.

The others hand over what they have recorded, at once and without waiting. Not with
`OTEL_QUEUE_RELAY=off`, where they were not forked, and where providers are a user's.
"""

from __future__ import annotations

import gc
import logging
import os
import time
from typing import TYPE_CHECKING, Any

from otel_queue_plugins.sdk.config.reader import SIGNALS

if TYPE_CHECKING:
    from otel_queue_plugins.sdk.config.plan import Plan
    from otel_queue_plugins.sdk.relay.relay import Relay

__all__ = ["has_ended", "is_on", "of_this_worker", "open_relay", "start"]

logger = logging.getLogger("otel_queue_plugins")

_opened: list[Relay] = []


def open_relay() -> None:
    """Said before the pool is forked. Where there is nothing to relay it does nothing."""
    from otel_queue_plugins.sdk.providers import setup

    if _opened or not _is_wanted():
        return
    try:
        setup.prepare_relay(_make)
    except Exception:
        logger.warning("each process of this worker exports by itself", exc_info=True)
    if _opened:
        _share_memory()


def _share_memory() -> None:
    """Let processes that are forked from now on share what is there with this one.

    A collection of garbage writes into every object that it looks at, and billiard runs one before
    each fork, after which nothing is shared any more.
    """
    gc.collect()
    gc.freeze()


def _is_wanted() -> bool:
    from otel_queue_plugins.sdk.config import plan

    return hasattr(os, "fork") and plan.is_relay_wanted(os.environ)


def _make(plan: Plan) -> tuple[str, ...]:
    """The signals that are relayed from now on."""
    from otel_queue_plugins.sdk import global_providers
    from otel_queue_plugins.sdk.config.plan import is_relay_on
    from otel_queue_plugins.sdk.config.targets import Target
    from otel_queue_plugins.sdk.providers import factory

    signals = tuple(
        signal
        for signal in (SIGNALS if is_relay_on(os.environ) else ("metrics",))
        if all(isinstance(each, Target) for each in plan.exporters.get(signal, ("",)))
        and signal not in global_providers.OWN
        and not global_providers.has_provider(signal)
    )
    if plan.declared is not None:
        logger.info("with OTEL_CONFIG_FILE each process of this worker exports by itself")
        if plan.is_served and "metrics" not in signals:
            line = "/metrics lacks what pool processes measure: leave meter_provider out of %s"
            logger.warning(line, "OTEL_CONFIG_FILE")
    if signals:
        from otel_queue_plugins.sdk.relay import opening

        _opened.append(opening.make(plan, signals, factory.resource(), factory.dropped()))
    return signals


def of_this_worker() -> Relay | None:
    """The one of this process and all that it forks; None where each exports by itself."""
    return _opened[0] if _opened else None


def is_on(signal: str) -> bool:
    """Whether `signal` of this process is exported together with that of others."""
    from otel_queue_plugins.sdk import global_providers

    return bool(_opened) and getattr(global_providers.OWN.get(signal), "is_relayed", False)


def start() -> None:
    """Said when the pool has been forked."""
    for relay in _opened:
        relay.start()


def has_ended(span_id: int | None) -> bool:
    """Whether another process of this worker has recorded the end of a delivery.

    `span_id` is the id that was chosen for its span.
    """
    return span_id is not None and any(relay.has_ended(span_id) for relay in _opened)


def is_child() -> bool:
    """Whether this process hands over what it records."""
    return any(relay.outbox() is not None for relay in _opened)


def is_forked() -> bool:
    """Whether this process was forked from one that exports for it.

    Right after a fork nobody knows yet whether it will keep the way there.
    """
    return any(not relay.is_here() for relay in _opened)


def hand_over(seconds: float) -> bool:
    """At the end of such a process: whether all that it has recorded has left by then."""
    outboxes = [relay.outbox() for relay in _opened]
    deadline = time.monotonic() + seconds
    done = [each.hand_over_until(deadline) for each in outboxes if each is not None]
    return all(done)


def needs_no_flush(provider: Any) -> bool:
    """Whether `hand_over` is all that a flush of `provider` comes to in this process."""
    return is_child() and getattr(provider, "is_only_relayed", lambda: False)()


def exporting() -> list[Any]:
    """The SDK's providers whose exporters have connections in this process."""
    return [each for relay in _opened if relay.is_here() for each in relay.providers()]


def meter_provider() -> Any:
    """The SDK's provider with the metrics of the whole worker; None in another process."""
    return next((relay.own_meter_provider() for relay in _opened if relay.is_here()), None)
