"""OTLP from spans and log records, at a fraction of what the official encoder costs.

That one makes an object of each attribute and each field. Here their bytes are written, and those
of what comes again are kept. Used where the SDK is one that both were compared with: by version, by
exact types, unpatched, and by a trial run. Everything else is left to the official encoder.
`OTEL_QUEUE_FASTPATH=off` turns it off.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from otel_queue_plugins.sdk.fastpath import gate

if TYPE_CHECKING:
    from otel_queue_plugins.sdk.fastpath.encoding.encoder import Encoder

__all__ = ["log_encoder", "span_encoder"]


@cache
def span_encoder() -> Encoder | None:
    """The one for spans in this process; None where it is not proven, or turned off."""

    def make() -> Encoder | None:
        from otel_queue_plugins.sdk.fastpath.encoding import signals

        return signals.span_encoder()

    return _if_proven("span encoding", make)


@cache
def log_encoder() -> Encoder | None:
    """The one for log records in this process; None where it is not proven, or turned off."""

    def make() -> Encoder | None:
        from otel_queue_plugins.sdk.fastpath.encoding import signals

        return signals.log_encoder()

    return _if_proven("log encoding", make)


def _if_proven(part: str, make: Callable[[], Encoder | None]) -> Encoder | None:
    def made() -> Encoder:
        encoder = make()
        if encoder is None:
            raise gate.DifferentError("the trial came out different, or somebody has patched it")
        return encoder

    return gate.attempt(part, made)
