"""What the SDK's own samplers say. They only look at the parent and the trace id."""

from __future__ import annotations

# ruff: noqa: SLF001 - the delegates of a sampler are private
from typing import TYPE_CHECKING, Any

from otel_queue_plugins.sdk.shortcuts.untouched import are_own

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace.sampling import Decision
    from opentelemetry.trace import SpanContext

    Decide = Callable[[SpanContext | None, int], Decision]

_DELEGATES = (
    "_root",
    "_remote_parent_sampled",
    "_remote_parent_not_sampled",
    "_local_parent_sampled",
    "_local_parent_not_sampled",
)


def decider(sampler: Any) -> Decide | None:
    """The decision of `sampler` without asking it; None unless it is, to its leaves, the SDK's.

    Such samplers hand the attributes on as they are, and the parent's trace state.
    """
    from opentelemetry.sdk.trace import sampling

    kind = type(sampler)
    if not are_own(kind, "should_sample") or "should_sample" in vars(sampler):
        return None
    if kind is sampling.StaticSampler:
        return _always(sampler._decision)
    if kind is sampling.TraceIdRatioBased:
        return _by_ratio(sampler)
    if kind is sampling.ParentBased:
        return _by_parent(*(decider(getattr(sampler, name)) for name in _DELEGATES))
    return None


def _always(decision: Decision) -> Decide:
    return lambda _parent, _trace_id: decision


def _by_ratio(sampler: Any) -> Decide:
    from opentelemetry.sdk.trace.sampling import Decision

    limit, bound = sampler.TRACE_ID_LIMIT, sampler.bound
    sampled, dropped = Decision.RECORD_AND_SAMPLE, Decision.DROP
    return lambda _parent, trace_id: sampled if trace_id & limit < bound else dropped


def _by_parent(*delegates: Decide | None) -> Decide | None:
    root, remote_on, remote_off, local_on, local_off = delegates
    if not (root and remote_on and remote_off and local_on and local_off):
        return None

    def decide(parent: SpanContext | None, trace_id: int) -> Decision:
        if parent is None:
            return root(parent, trace_id)
        if parent.is_remote:
            chosen = remote_on if parent.trace_flags.sampled else remote_off
        else:
            chosen = local_on if parent.trace_flags.sampled else local_off
        return chosen(parent, trace_id)

    return decide
