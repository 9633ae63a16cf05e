"""What a span says besides its times: its events, and its links to other spans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from otel_queue_plugins.cli.received import Attributes, ReceivedEvent, ReceivedSpan
from otel_queue_plugins.cli.view.glyphs import Glyphs
from otel_queue_plugins.cli.view.quantity import duration
from otel_queue_plugins.core import semconv

_DRAWN = (semconv.EVENT_RECEIVED,)
_TEXTS = (
    semconv.EXCEPTION_MESSAGE,
    semconv.RETRY_REASON,
    semconv.DEAD_LETTER_REASON,
    semconv.SKIP_REASON,
    semconv.LOST_REASON,
)


def notes_of(
    span: ReceivedSpan, spans: Mapping[str, ReceivedSpan], glyphs: Glyphs
) -> Iterator[str]:
    """One line for each event and each kind of link target, the most telling first.

    Left out, because the picture shows it: the event of reception. `spans` are those that links
    may name, by span id.
    """
    for event in span.events:
        if event.name not in _DRAWN:
            yield f"{glyphs.event} {_event(event, span, glyphs)}"
    targets = Counter(_target(link.trace_id, spans.get(link.span_id)) for link in span.links)
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
    if semconv.RETRY_DELAY in attributes:
        yield f"delay {duration(attributes[semconv.RETRY_DELAY])}"
    if semconv.DEAD_LETTER_QUEUE in attributes:
        yield f"to {attributes[semconv.DEAD_LETTER_QUEUE]}"
    kind = attributes.get(semconv.EXCEPTION_TYPE) or attributes.get(semconv.ERROR_TYPE)
    text = next((attributes[name] for name in _TEXTS if name in attributes), None)
    yield from filter(None, [_told(str(kind or "").rpartition(".")[2], str(text or ""))])


def _told(kind: str, text: str) -> str:
    """The name of an exception (without its module) and its text, neither of them twice."""
    if text.startswith(kind):
        return text
    return f"{kind}: {text}" if text else kind


def _target(trace_id: str, span: ReceivedSpan | None) -> str:
    return label(span) if span else f"trace {trace_id}"
