"""`TaskQueueSampler`: decides where a trace begins, and keeps to the decision from there on."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, TraceState, get_current_span

from otel_queue_plugins.core import semconv
from otel_queue_plugins.core.carrier.envelope import ASSUMED_FLAGS
from otel_queue_plugins.sdk.sampling import thresholds
from otel_queue_plugins.sdk.sampling.rates import AdaptiveRate, Clock, FixedShare, Key
from otel_queue_plugins.sdk.sampling.rules import parse

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, SpanContext

logger = logging.getLogger("otel_queue_plugins")

_MOST_MATCHES: Final = 4096
_SAMPLE, _RECORD, _DROP = Decision.RECORD_AND_SAMPLE, Decision.RECORD_ONLY, Decision.DROP
_NO_ATTRIBUTES: Final[Mapping[str, Any]] = {}


class _Result(SamplingResult):
    """A decision that leaves the attributes as they are, without a view of them."""

    def __init__(self, decision: Decision, attributes: Any, trace_state: TraceState | None) -> None:
        self.decision = decision
        self.attributes = attributes
        self.trace_state = trace_state


class TaskQueueSampler(Sampler):
    """Keeps traces by task and queue: a share of them, or so many a second.

    It decides where a trace begins: at a send outside of any trace, at a request, or at a delivery
    whose sender was not traced. In a trace the parent's decision holds, and a delivery that begins
    a trace with a link is sampled if the linked one was. What is sampled says so in its trace state
    (`ot=th:`), from which backends count what it stands for.

    Args:
        rules: Such as `task:shop.charge=1.0;task:audit.*=0.01;queue:bulk=5/s;default=50/s`. The
            first that matches counts; `default` is for the rest, and for what is no message. A
            number is a share. `N/s` is N new traces a second in each process: each task on a queue
            has a probability that is set every ten seconds, so that rare tasks are kept first.
        keep: Such as `errors,slow:5s,retries`: process spans with one of these endings are
            exported though their trace was not sampled, with what they did in the same process. It
            may stand in `rules`, too, as `keep=...`. With a provider of your own it needs a
            `KeepingSpanProcessor`.
        clock: Returns seconds; for tests.

    Raises:
        ValueError: A rule is wrong; the text has the rule, and what it may be.
    """

    def __init__(
        self, rules: str = "", *, keep: str | None = None, clock: Clock = time.monotonic
    ) -> None:
        found = parse(rules, keep)
        self._text = rules if keep is None else f"{rules};keep={keep}"
        self._rules = [
            (rule, AdaptiveRate(rule.share.value, clock))
            if rule.share.is_rate
            else (rule, FixedShare(rule.share.value))
            for rule in found.rules
        ]
        self.keep = found.keep
        self._matches: dict[Key, AdaptiveRate | FixedShare] = {}
        self._records_unsampled = False
        self._has_warned = False

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,  # noqa: ARG002 - all parameters are those of the SDK
        kind: SpanKind | None = None,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide about a span that starts."""
        span = get_current_span(parent_context)
        parent = span.get_span_context()
        if parent.is_valid:
            if parent.trace_flags.sampled:
                return _Result(_SAMPLE, attributes, parent.trace_state)
            return self._unsampled(attributes, kind, parent.trace_state, span)
        known: Mapping[str, Any] = attributes or _NO_ATTRIBUTES
        linked = _first(links) if links and kind is SpanKind.CONSUMER else None
        if linked is not None:
            if not linked.trace_flags.sampled:
                return self._unsampled(attributes, kind, trace_state)
            return _Result(_SAMPLE, attributes, thresholds.state_like(linked))
        key = (known.get(semconv.TASK_NAME), known.get(semconv.MESSAGING_DESTINATION_NAME))
        randomness = thresholds.randomness_of(trace_id, trace_state)
        threshold = self._rule_for(key).decide(key, randomness)
        if threshold is None:
            return self._unsampled(attributes, kind, trace_state)
        if trace_state:
            state = thresholds.with_threshold(trace_state, threshold)
        else:
            state = thresholds.new_state(threshold)
        return _Result(_SAMPLE, attributes, state)

    def decide_by_parent(self, parent: SpanContext | None) -> Decision | None:
        """The decision for a child of `parent`, which keeps its trace state.

        None if more than the parent is needed: `should_sample` must be called.
        """
        if parent is None:
            return None
        if parent.trace_flags.sampled:
            return _SAMPLE
        return None if self.keep else _DROP

    def report_task_failure(self, attributes: Mapping[str, Any]) -> None:
        """A send or a delivery has failed, whose spans have these attributes of its route."""
        key = (
            attributes.get(semconv.TASK_NAME),
            attributes.get(semconv.MESSAGING_DESTINATION_NAME),
        )
        self._rule_for(key).report_failure(key)

    def record_unsampled(self) -> None:
        """From now on somebody takes the spans that `keep` is about."""
        self._records_unsampled = self.keep is not None

    def get_description(self) -> str:
        """The rules."""
        return f"TaskQueueSampler{{{self._text}}}"

    def _rule_for(self, key: Key) -> AdaptiveRate | FixedShare:
        found = self._matches.get(key)
        if found is None:
            if len(self._matches) >= _MOST_MATCHES:
                self._matches.clear()
            found = next(share for rule, share in self._rules if rule.matches(*key))
            self._matches[key] = found
        return found

    def _unsampled(
        self,
        attributes: Any,
        kind: SpanKind | None,
        state: TraceState | None,
        parent: Span | None = None,
    ) -> SamplingResult:
        """Record what may be kept at the end of its delivery; drop all else."""
        if self.keep is not None:
            is_delivery = kind is SpanKind.CONSUMER and semconv.FRAMEWORK in (attributes or ())
            if self._records_unsampled:
                if is_delivery or (parent is not None and parent.is_recording()):
                    return _Result(_RECORD, attributes, state)
            elif is_delivery:
                self._warn_once()
        return _Result(_DROP, None, state)

    def _warn_once(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "keep of TaskQueueSampler has no effect: this tracer provider was not set up here. "
                "Add KeepingSpanProcessor(sampler, processor) of otel_queue_plugins.sampling to it"
            )


def _first(links: Sequence[Link]) -> SpanContext | None:
    """The context of the first link that tells whether its trace is sampled."""
    known = (link.context for link in links if link.context.trace_flags is not ASSUMED_FLAGS)
    return next((context for context in known if context.is_valid), None)
