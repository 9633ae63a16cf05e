"""Write a creation context once, read it on every delivery.

Carriers are what a framework lets us add to a message: any mapping with string keys. Writing
replaces or removes every key that is ours, so that nothing stale goes out. Reading starts from an
empty context, so that nothing of an earlier message is seen, and believes nothing it finds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Final, NamedTuple

from opentelemetry import propagate
from opentelemetry.context import Context, get_current
from opentelemetry.propagators.textmap import Getter, TextMapPropagator
from opentelemetry.trace import NonRecordingSpan, SpanContext

from otel_queue_plugins.core.api.context import span_in, with_span
from otel_queue_plugins.core.carrier import envelope, traceparent
from otel_queue_plugins.core.carrier.envelope import Envelope
from otel_queue_plugins.core.semconv import CARRIER_KEY

Carrier = MutableMapping[str, object]

MAX_VALUE_LENGTH: Final = 900
MAX_BAGGAGE_LENGTH: Final = 8192
_BAGGAGE: Final = "baggage"
_TRACESTATE: Final = "tracestate"
_LONG_MEMBER: Final = re.compile(r"[!#-'*+.^-z|~-]{1,256}=[!#-+\--:<-\[\]-~]*", re.ASCII)


class Incoming(NamedTuple):
    """What a delivery brought along; `creation` is None if there was no valid context."""

    context: Context
    creation: SpanContext | None = None
    envelope: Envelope | None = None


EMPTY_INCOMING: Final = Incoming(context=Context())


class _Getter(Getter[Mapping[str, object]]):
    """Reads ASCII (or bytes of it, as some AMQP clients deliver them) of a sane size, else nothing.

    All propagators write ASCII, and only baggage is ever long. What they would refuse and log in
    full is not shown to them.
    """

    def get(self, carrier: Mapping[str, object], key: str) -> list[str] | None:
        value = carrier.get(key)
        if isinstance(value, bytes):
            value = value.decode("ascii", "replace")
        if not isinstance(value, str) or not value.isascii():
            return None
        if len(value) > MAX_VALUE_LENGTH:
            return _sane_baggage(value) if key == _BAGGAGE else None
        return [value]

    def keys(self, carrier: Mapping[str, object]) -> list[str]:
        return [key for key in carrier if isinstance(key, str)]


def _sane_baggage(value: str) -> list[str] | None:
    """The members of long baggage that are short, or long and well-formed (W3C Baggage, 3.3.1)."""
    if len(value) > MAX_BAGGAGE_LENGTH:
        return None
    members = value.split(",")
    sane = (one for one in members if len(one) <= MAX_VALUE_LENGTH or _LONG_MEMBER.fullmatch(one))
    return [",".join(sane)]


_GETTER: Final = _Getter()


class CarrierKeys:
    """The carrier keys of the propagator in use; it may be replaced while the app runs."""

    def __init__(self) -> None:
        self._propagator: TextMapPropagator | None = None
        self.names: tuple[str, ...] = ()
        self.is_w3c = False

    def __call__(self) -> tuple[str, ...]:
        """The keys that are ours to write and remove."""
        propagator = propagate.get_global_textmap()
        if propagator is not self._propagator:
            self.names = (*sorted(propagator.fields), CARRIER_KEY)
            self.is_w3c = traceparent.is_standard(propagator)
            self._propagator = propagator
        return self.names


carrier_keys = CarrierKeys()


def write(carrier: Carrier, context: Context | None, facts: str | None) -> None:
    """Put `context` (None: the current one) and `facts` into `carrier`, and nothing else of ours.

    `facts` is an encoded envelope.
    """
    for name in carrier_keys():
        if name in carrier:
            del carrier[name]
    if facts is not None:
        carrier[CARRIER_KEY] = facts
    context = get_current() if context is None else context
    if not context:
        return
    encoded = traceparent.encode(context) if carrier_keys.is_w3c else None
    if encoded is not None:
        carrier[traceparent.TRACEPARENT] = encoded
    else:
        propagate.inject(carrier, context)


def may_carry_context(carrier: Mapping[str, object]) -> bool:
    """Whether `carrier` has keys of ours, or may have others that a propagator reads."""
    for name in carrier_keys():
        if name in carrier:
            return True
    return not carrier_keys.is_w3c


def read(carrier: Mapping[str, object] | None) -> Incoming:
    """What `carrier` says. Whatever it holds, this returns; in doubt, an empty context.

    None stands for the context that is current.
    """
    if carrier is None:
        return Incoming(get_current())
    try:
        return _read(carrier)
    except Exception:  # noqa: BLE001 - a propagator's trouble with a header is not the task's
        return EMPTY_INCOMING


def _read(carrier: Mapping[str, object]) -> Incoming:
    if not may_carry_context(carrier):
        return EMPTY_INCOMING
    plain = carrier_keys.is_w3c and _TRACESTATE not in carrier and _BAGGAGE not in carrier
    creation = traceparent.decode(carrier.get(traceparent.TRACEPARENT)) if plain else None
    if creation is not None:
        context = with_span(NonRecordingSpan(creation), EMPTY_INCOMING.context)
    else:
        context = propagate.extract(carrier, Context(), _GETTER) or EMPTY_INCOMING.context
        found = span_in(context).get_span_context()
        creation = found if found.is_valid else None
    return Incoming(context, creation, envelope.decode(carrier.get(CARRIER_KEY), creation))
