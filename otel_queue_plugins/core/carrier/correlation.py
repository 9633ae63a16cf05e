"""What correlates a message with the business: values from its arguments, and one id for all.

Both are attributes of spans. What follows a message gets them as baggage, which every relation of
spans keeps.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus

from opentelemetry import baggage, propagate
from opentelemetry.context import Context

from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.api.context import span_in
from otel_queue_plugins.core.api.recorder import Value
from otel_queue_plugins.core.carrier.propagation import Incoming
from otel_queue_plugins.core.messages import Delivery, Message
from otel_queue_plugins.core.options import Options
from otel_queue_plugins.core.policy.arguments import Arguments, scalar, value_at

ID_KEY: Final = "correlation_id"
MAX_KEYS: Final = 16
MAX_BAGGAGE: Final = 4096
_MAX_REMEMBERED: Final = 1000
_UUID_VERSION: Final = 7
_UUID_VARIANT: Final = 2

_log = logging.getLogger("otel_queue_plugins")

Attributes = dict[str, Value]


class Correlation:
    """Finds the values and the id of messages, and adds them to the baggage of what follows."""

    def __init__(self, options: Options) -> None:
        self._paths = options.correlation[:MAX_KEYS]
        self._in_baggage = options.correlation_baggage
        self._has_id = options.correlation_id
        self._redact = options.redact
        self._ids: dict[object, str] = {}
        if len(options.correlation) > MAX_KEYS:
            left_out = ", ".join(each.key for each in options.correlation[MAX_KEYS:])
            _log.warning("correlation: the first %d keys count, not %s", MAX_KEYS, left_out)
        needs_baggage = self._has_id or (self._in_baggage and self._paths)
        if needs_baggage and "baggage" not in propagate.get_global_textmap().fields:
            _log.warning("correlation: what follows gets nothing, OTEL_PROPAGATORS has no baggage")

    def of_send(self, message: Message, context: Context) -> tuple[Attributes, Context]:
        """The attributes of a send in `context`, and the context that its message carries."""
        values = self._values(context, message.arguments)
        if not self._has_id:
            return _named(values), self._followed(context, values)
        identity = self._id_in(context) or self._id_of_send(message, context)
        return self._with_id(values, self._followed(context, values), identity)

    def of_delivery(self, delivery: Delivery, incoming: Incoming) -> tuple[Attributes, Incoming]:
        """The attributes of a delivery, and its `incoming` with the context that it runs in."""
        context = incoming.context
        values = self._values(context, delivery.arguments)
        attributes, followed = _named(values), self._followed(context, values)
        if self._has_id:
            identity = self._id_in(context) or new_id()
            attributes, followed = self._with_id(values, followed, identity)
        return attributes, incoming._replace(context=followed)

    def _values(self, context: Context, arguments: Arguments | None) -> Attributes:
        """The value of each key: that in the baggage of `context`, else that in the arguments."""
        values: Attributes = {}
        for path in self._paths:
            value = scalar(baggage.get_baggage(path.key, context), self._redact)
            if value is None and arguments is not None:
                value = value_at(path, arguments, self._redact)
            if value is not None:
                # In baggage it is a text for all that follows, so it is one from the start.
                values[path.key] = str(value) if self._in_baggage else value
        return values

    def _followed(self, context: Context, values: Attributes) -> Context:
        """`context` with `values` in its baggage, as long as they fit into a header."""
        left = MAX_BAGGAGE
        for key, value in values.items() if self._in_baggage else ():
            left -= len(key) + len(quote_plus(str(value))) + 2
            if left < 0:
                break
            context = baggage.set_baggage(key, value, context)
        return context

    def _id_in(self, context: Context) -> str | None:
        found = scalar(baggage.get_baggage(ID_KEY, context), self._redact)
        return str(found) if found else None

    def _id_of_send(self, message: Message, context: Context) -> str:
        """A new id; the same for all messages sent in one trace, or as members of one group."""
        trace_id = span_in(context).get_span_context().trace_id
        unit: object = trace_id
        if not trace_id:
            if message.membership is None:
                return new_id()
            unit = message.membership.sent_with or message.membership.id
        if len(self._ids) >= _MAX_REMEMBERED:
            self._ids.clear()
        return self._ids.setdefault(unit, new_id())

    @staticmethod
    def _with_id(values: Attributes, context: Context, identity: str) -> tuple[Attributes, Context]:
        attributes = _named(values) | {semconv.CORRELATION_ID: identity}
        return attributes, baggage.set_baggage(ID_KEY, identity, context)


def of_options(options: Options) -> Correlation | None:
    """The correlation that `options` ask for; None if they ask for none."""
    return Correlation(options) if options.correlation or options.correlation_id else None


def new_id() -> str:
    """A UUID of version 7 (RFC 9562): the time in milliseconds, then a random number."""
    number = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    number = number & ~(0xF << 76) | _UUID_VERSION << 76
    number = number & ~(0x3 << 62) | _UUID_VARIANT << 62
    text = f"{number & (1 << 128) - 1:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _named(values: Mapping[str, Any]) -> Attributes:
    return {semconv.CORRELATION_VALUE.format(key=key): value for key, value in values.items()}
