"""OTLP from spans and log records, at a fraction of what the official encoder costs.

That one makes an object of each attribute and each field. Here their bytes are written, and those
of what comes again are kept. Used where the SDK is one that both were compared with: by version, by
exact types, unpatched, and by a trial run. Everything else is left to the official encoder.
`OTEL_QUEUE_SHORTCUTS=off` turns it off.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otel_queue_plugins.sdk.encoding.encoder import Encoder

__all__ = ["log_encoder", "span_encoder"]

logger = logging.getLogger("otel_queue_plugins")


@cache
def span_encoder() -> Encoder | None:
    """The one for spans in this process; None where it is not proven, or turned off."""

    def make() -> Encoder | None:
        from otel_queue_plugins.sdk.encoding import signals

        return signals.span_encoder()

    return _if_proven("spans", make)


@cache
def log_encoder() -> Encoder | None:
    """The one for log records in this process; None where it is not proven, or turned off."""

    def make() -> Encoder | None:
        from otel_queue_plugins.sdk.encoding import signals

        return signals.log_encoder()

    return _if_proven("log records", make)


def _if_proven(what: str, make: Callable[[], Encoder | None]) -> Encoder | None:
    if _is_off():
        return None
    encoder = None
    try:
        encoder = make()
    except Exception:
        logger.debug("%s: the trial of our encoder failed", what, exc_info=True)
    if encoder is None:
        logger.debug("%s: encoded by the official encoder", what)
    return encoder


def _is_off() -> bool:
    return os.environ.get("OTEL_QUEUE_SHORTCUTS", "").strip().lower() in {"off", "false", "0"}
