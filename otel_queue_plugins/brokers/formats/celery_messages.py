"""Celery's messages: headers and properties in plain JSON or AMQP tables, whatever the body is.

Nothing is unpickled. Protocol 2 has all but the workflow in its headers; protocol 1 has its facts
in the body, which is read where it is JSON.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from otel_queue_plugins.brokers.facts import State, StoredMessage
from otel_queue_plugins.brokers.formats import carriers
from otel_queue_plugins.brokers.formats.values import mapping, number, parsed, text, timestamp
from otel_queue_plugins.core.carrier.envelope import decode
from otel_queue_plugins.core.messages import Workflow
from otel_queue_plugins.core.semconv import CARRIER_KEY

Facts = Mapping[str, object]
Attempts = Callable[[str], int | None]

_JSON: Final = "application/json"
_ARGUMENTS: Final = {"args": "argsrepr", "kwargs": "kwargsrepr"}
_ROUNDS: Final = 3  # args, kwargs, embedded


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A message as its transport has it. `encoded` is the body, in base 64 if `is_base64`."""

    headers: Facts
    properties: Facts
    content_type: str | None
    encoded: bytes
    is_base64: bool = False

    def body(self) -> bytes:
        """The body as the framework gave it to the transport; empty if it is none."""
        try:
            return b64decode(self.encoded) if self.is_base64 else self.encoded
        except ValueError:
            return b""

    def facts(self) -> Facts:
        """What the message says of itself: in its headers, or by protocol 1 in a JSON body."""
        return self.headers if "task" in self.headers else mapping(self.content())

    def content(self) -> object:
        """The body if it is JSON, else None."""
        return parsed(self.body()) if self.content_type == _JSON else None


class Times(NamedTuple):
    """When a message was enqueued, and when it may run at the earliest; None if not said."""

    enqueued_at: float | None
    eta: float | None

    @property
    def could_run_at(self) -> float | None:
        """Since when the message waits to be run."""
        said = [when for when in self if when is not None]
        return max(said) if said else None


def no_limit(_task: str) -> int | None:
    """For who does not know the tasks: how often one is tried is not in its messages."""
    return None


def of_json(raw: bytes) -> Envelope | None:
    """The message in a virtual transport's JSON; None if it is none."""
    document = parsed(raw)
    return of_document(document) if isinstance(document, Mapping) else None


def of_document(document: Facts) -> Envelope:
    """The message in a virtual transport's document."""
    properties = mapping(document.get("properties"))
    return Envelope(
        headers=mapping(document.get("headers")),
        properties=properties,
        content_type=text(document.get("content-type")),
        encoded=(text(document.get("body")) or "").encode(),
        is_base64=properties.get("body_encoding") == "base64",
    )


def times(envelope: Envelope) -> Times:
    """The times of a message: the tenth part of what `message` costs, for who needs no more."""
    facts = envelope.facts()
    said = decode(_carrier(envelope.headers, facts).get(CARRIER_KEY), None)
    sent_at = timestamp(envelope.properties.get("timestamp"))
    return Times(said.enqueued_at if said else sent_at, timestamp(facts.get("eta")))


def message(
    envelope: Envelope,
    *,
    queue: str,
    state: State,
    raw: bytes = b"",
    place: object = None,
    max_attempts: Attempts = no_limit,
) -> StoredMessage:
    """The facts of a message. Values of another type than Celery's count as absent."""
    headers, properties, facts = envelope.headers, envelope.properties, envelope.facts()
    carried = carriers.read(_carrier(headers, facts))
    said, task, when = carried.envelope, text(facts.get("task")) or "", times(envelope)
    return StoredMessage(
        id=str(facts.get("id") or properties.get("correlation_id") or ""),
        task=task,
        queue=queue,
        state=state,
        attempt=max(0, number(facts.get("retries")) or 0) + 1,
        max_attempts=max_attempts(task),
        enqueued_at=when.enqueued_at,
        eta=when.eta,
        expires_at=timestamp(facts.get("expires")),
        priority=number(properties.get("priority")),
        size_bytes=len(raw) or len(envelope.encoded),
        redelivered=mapping(properties.get("delivery_info")).get("redelivered") is True,
        creation=carried.creation,
        baggage=carried.baggage,
        workflow=(said.workflow if said else None) or _workflow(facts, envelope.content()),
        headers={key: value for key, value in headers.items() if key not in _ARGUMENTS.values()},
        arguments=_arguments(facts),
        raw=raw,
        place=place,
    )


def _carrier(headers: Facts, facts: Facts) -> Facts:
    """Where the keys of a tracer are: at the top, or in `headers` (protocol 1, other tracers)."""
    nested = mapping(headers.get("headers") or facts.get("headers"))
    return {**nested, **headers} if nested else headers


def _arguments(facts: Facts) -> dict[str, object]:
    """The texts Celery sends along (protocol 2), or the arguments themselves (protocol 1)."""
    return {
        name: facts[key]
        for name, long in _ARGUMENTS.items()
        for key in (long, name)
        if key in facts
    }


def _workflow(facts: Facts, body: object) -> Workflow | None:
    """The group or chain that a message belongs to, if it says so."""
    embedded = body[2] if isinstance(body, list) and len(body) == _ROUNDS else facts
    group, index = text(facts.get("group") or facts.get("taskset")), facts.get("group_index")
    if group is not None:
        is_chord = bool(mapping(embedded).get("chord"))
        return Workflow(kind="chord" if is_chord else "group", id=group, step=number(index))
    chain = mapping(embedded).get("chain")
    if not isinstance(chain, list) or not chain:
        return None
    last = text(mapping(mapping(chain[0]).get("options")).get("task_id"))
    return Workflow(kind="chain", id=last) if last else None
