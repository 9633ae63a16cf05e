"""Encode spans and log records for OTLP at a fraction of the official encoder's cost.

The official encoder makes an object for each attribute and each field. This one writes the bytes of
the fields, and keeps those of values that come often. It is used where its result was compared with
the official one's: proven versions of the SDK, exact types, nothing patched, and a trial that has
passed. Everything else is left to the official encoder. `OTEL_QUEUE_FASTPATH=off` turns it off.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

from otel_queue_plugins.sdk.fastpath import gate

if TYPE_CHECKING:
    from otel_queue_plugins.sdk.fastpath.encoding.encoder import Encoder

__all__ = ["log_encoder", "span_encoder"]


@cache
def span_encoder() -> Encoder | None:
    """The encoder of spans in this process; None where it is not proven, or switched off."""
    return gate.attempt("span encoding", partial(_make, "traces"))


@cache
def log_encoder() -> Encoder | None:
    """The encoder of log records in this process; None where it is not proven, or switched off."""
    return gate.attempt("log encoding", partial(_make, "logs"))


def _make(signal: str) -> Encoder:
    from otel_queue_plugins.sdk.fastpath.encoding import signals

    return signals.proven_encoder(signal)
