"""Write a context and an envelope into a carrier, and read them back.

Writing replaces or removes all keys of ours, so that a message carries nothing stale. Reading
starts from an empty context, so that nothing of an earlier message is seen, and checks every value.
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
    """What was read from a carrier; `creation` is None if it had no valid context."""

    context: Context
    creation: SpanContext | None = None
    envelope: Envelope | None = None


EMPTY_INCOMING: Final = Incoming(context=Context())


class _Getter(Getter[Mapping[str, object]]):
    """Returns ASCII values of a bounded size, and no others; some AMQP clients deliver bytes.

    All propagators write ASCII, and only baggage is long. They would log in full what they refuse.
    """

    def get(self, carrier: Mapping[str, object], key: str) -> list[str] | None:
        value = carrier.get(key)
        if isinstance(value, bytes):
            value = value.decode("ascii", "replace")
        if not isinstance(value, str) or not value.isascii():
            return None
        if len(value) > MAX_VALUE_LENGTH:
            return _valid_baggage(value) if key == _BAGGAGE else None
        return [value]

    def keys(self, carrier: Mapping[str, object]) -> list[str]:
        return [key for key in carrier if isinstance(key, str)]


def _valid_baggage(value: str) -> list[str] | None:
    """Long baggage without its long members that are not well-formed (W3C Baggage, 3.3.1)."""
    if len(value) > MAX_BAGGAGE_LENGTH:
        return None
    members = value.split(",")
    valid = (one for one in members if len(one) <= MAX_VALUE_LENGTH or _LONG_MEMBER.fullmatch(one))
    return [",".join(valid)]


_GETTER: Final = _Getter()


class CarrierKeys:
    """The keys of the global propagator, which the application may replace at any time."""

    def __init__(self) -> None:
        self._propagator: TextMapPropagator | None = None
        self.names: tuple[str, ...] = ()
        self.is_w3c = False

    def __call__(self) -> tuple[str, ...]:
        """The keys that we write into a carrier and remove from it."""
        propagator = propagate.get_global_textmap()
        if propagator is not self._propagator:
            self.names = (*sorted(propagator.fields), CARRIER_KEY)
            self.is_w3c = traceparent.is_standard(propagator)
            self._propagator = propagator
        return self.names


carrier_keys = CarrierKeys()


def write(carrier: Carrier, context: Context | None, encoded_envelope: str | None) -> None:
    """Inject `context` into `carrier`, and write or remove the envelope.

    `context` is None for the current one, `encoded_envelope` is None for no envelope.
    """
    for name in carrier_keys():
        if name in carrier:
            del carrier[name]
    if encoded_envelope is not None:
        carrier[CARRIER_KEY] = encoded_envelope
    context = get_current() if context is None else context
    if not context:
        return
    encoded_context = traceparent.encode(context) if carrier_keys.is_w3c else None
    if encoded_context is not None:
        carrier[traceparent.TRACEPARENT] = encoded_context
    else:
        propagate.inject(carrier, context)


def may_carry_context(carrier: Mapping[str, object]) -> bool:
    """Whether `carrier` has keys of ours, or may have other keys that a propagator reads."""
    for name in carrier_keys():
        if name in carrier:
            return True
    return not carrier_keys.is_w3c


def read(carrier: Mapping[str, object] | None) -> Incoming:
    """Read a carrier, or the current context if it is None. Never raises.

    What cannot be read counts as absent.
    """
    if carrier is None:
        return Incoming(get_current())
    try:
        return _read(carrier)
    except Exception:  # noqa: BLE001 - a propagator may raise on a header; the task runs
        return EMPTY_INCOMING


def _read(carrier: Mapping[str, object]) -> Incoming:
    if not may_carry_context(carrier):
        return EMPTY_INCOMING
    is_plain = carrier_keys.is_w3c and _TRACESTATE not in carrier and _BAGGAGE not in carrier
    creation = traceparent.decode(carrier.get(traceparent.TRACEPARENT)) if is_plain else None
    if creation is not None:
        context = with_span(NonRecordingSpan(creation), EMPTY_INCOMING.context)
    else:
        context = propagate.extract(carrier, Context(), _GETTER) or EMPTY_INCOMING.context
        found = span_in(context).get_span_context()
        creation = found if found.is_valid else None
    return Incoming(context, creation, envelope.decode(carrier.get(CARRIER_KEY), creation))
