"""Write a creation context once, read it on every delivery.

Carriers are what a framework lets us add to a message: any mapping with string keys. Writing
replaces or removes every key that is ours, so that nothing stale goes out. Reading starts from an
empty context, so that nothing of an earlier message is seen, and believes nothing it finds.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Final

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter, TextMapPropagator
from opentelemetry.trace import SpanContext

from otel_queue_plugins.core import envelope
from otel_queue_plugins.core.envelope import Envelope
from otel_queue_plugins.core.semconv import CARRIER_KEY

Carrier = MutableMapping[str, object]

MAX_VALUE_LENGTH: Final = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """What a delivery brought along; `creation` is None if there was no valid context."""

    context: Context
    creation: SpanContext | None = None
    envelope: Envelope | None = None


class _Getter(Getter[Mapping[str, object]]):
    """Reads strings (or bytes, as some AMQP clients deliver them) of a sane size, else nothing."""

    def get(self, carrier: Mapping[str, object], key: str) -> list[str] | None:
        value = carrier.get(key)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if not isinstance(value, str) or len(value) > MAX_VALUE_LENGTH:
            return None
        return [value]

    def keys(self, carrier: Mapping[str, object]) -> list[str]:
        return [key for key in carrier if isinstance(key, str)]


_GETTER: Final = _Getter()


class Fields:
    """The carrier keys of the propagator in use; it may be replaced while the app runs."""

    def __init__(self) -> None:
        self._propagator: TextMapPropagator | None = None
        self._names: tuple[str, ...] = ()

    def __call__(self) -> tuple[str, ...]:
        propagator = propagate.get_global_textmap()
        if propagator is not self._propagator:
            self._names = (*sorted(propagator.fields), CARRIER_KEY)
            self._propagator = propagator
        return self._names


fields = Fields()


def write(carrier: Carrier, context: Context | None, facts: str | None) -> None:
    """Put `context` (None: the current one) and `facts` into `carrier`, and nothing else of ours.

    `facts` is an encoded envelope.
    """
    clear(carrier)
    propagate.inject(carrier, context)
    if facts is not None:
        carrier[CARRIER_KEY] = facts


def clear(carrier: Carrier) -> None:
    """Remove every key of ours from `carrier`."""
    for name in fields():
        if name in carrier:
            del carrier[name]


def read(carrier: Mapping[str, object]) -> Incoming:
    """What `carrier` says. Whatever it holds, this returns; in doubt, an empty context."""
    try:
        context = propagate.extract(carrier, Context(), _GETTER) or Context()
    except Exception:  # noqa: BLE001 - a propagator's trouble with a header is not the task's
        context = Context()
    span = trace.get_current_span(context) if context else trace.INVALID_SPAN
    found = span.get_span_context()
    creation = found if found.is_valid else None
    facts = envelope.decode(carrier.get(CARRIER_KEY), creation)
    return Incoming(context=context, creation=creation, envelope=facts)
