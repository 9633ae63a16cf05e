"""What a span says besides its times: its events, and the links that lead elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from otel_queue_plugins.cli.received import Attributes, ReceivedEvent, ReceivedSpan
from otel_queue_plugins.cli.view.glyphs import Glyphs
from otel_queue_plugins.cli.view.quantity import duration
from otel_queue_plugins.core import semconv

_DRAWN = (semconv.EVENT_RECEIVED,)


def notes_of(
    span: ReceivedSpan, known: Mapping[str, ReceivedSpan], glyphs: Glyphs
) -> Iterator[str]:
    """One line for each event and each kind of link target, the most telling first.

    Left out, because the picture shows them: the event of reception, the link to the parent.
    `known` are the spans that links may name, by span id.
    """
    for event in span.events:
        if event.name not in _DRAWN:
            yield f"{glyphs.event} {_event(event, span, glyphs)}"
    targets = Counter(
        _target(link.trace_id, known.get(link.span_id))
        for link in span.links
        if link.span_id != span.parent_id
    )
    for target, times in targets.items():
        yield f"{glyphs.link} link to {f'{times} {glyphs.times} ' if times > 1 else ''}{target}"


def label(span: ReceivedSpan) -> str:
    """The span's name, with the number of the attempt from the second on."""
    attempt = span.attributes.get(semconv.TASK_ATTEMPT, 1)
    return f"{span.name} #{attempt}" if attempt > 1 else span.name


def _event(event: ReceivedEvent, span: ReceivedSpan, glyphs: Glyphs) -> str:
    at = duration((event.time_ns - span.start_ns) / 1e9)
    return glyphs.between.join([f"{event.name} +{at}", *_facts(event.attributes)])


def _facts(attributes: Attributes) -> Iterator[str]:
    if semconv.DELAY in attributes:
        yield f"delay {duration(attributes[semconv.DELAY])}"
    if semconv.QUEUE in attributes:
        yield f"to {attributes[semconv.QUEUE]}"
    kind = attributes.get(semconv.EXCEPTION_TYPE) or attributes.get(semconv.ERROR_TYPE)
    text = attributes.get(semconv.EXCEPTION_MESSAGE) or attributes.get(semconv.REASON)
    yield from filter(None, [_told(str(kind or "").rpartition(".")[2], str(text or ""))])


def _told(kind: str, text: str) -> str:
    """The name of an exception (without its module) and its text, neither of them twice."""
    if text.startswith(kind):
        return text
    return f"{kind}: {text}" if text else kind


def _target(trace_id: str, span: ReceivedSpan | None) -> str:
    return label(span) if span else f"trace {trace_id}"
