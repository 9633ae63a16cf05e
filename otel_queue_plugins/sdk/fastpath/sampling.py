"""Decisions of the SDK's own samplers, from the parent and the trace id alone."""

from __future__ import annotations

# ruff: noqa: SLF001 - the parts of a sampler are private
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import TraceFlags

from otel_queue_plugins.sdk.fastpath.unpatched import are_unpatched

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import SpanContext

    Decide = Callable[[Any, SpanContext | None, int], Any]


def decider() -> Decide:
    """Return a function that gives a sampler's decision, or None where the sampler must be called.

    It must be called unless it and its delegate are the SDK's own: exact type, not patched. Those
    return the attributes unchanged, with the trace state of the parent. Ours does so, too, below a
    parent that it can decide by; elsewhere it is called, as it needs the attributes.
    """
    from opentelemetry.sdk.trace import sampling

    from otel_queue_plugins.sdk.sampling.sampler import TaskQueueSampler

    static, by_ratio = sampling.StaticSampler, sampling.TraceIdRatioBased
    by_parent = (sampling.ParentBased, sampling.ParentBasedTraceIdRatio)
    sampled, dropped = sampling.Decision.RECORD_AND_SAMPLE, sampling.Decision.DROP
    if not all(are_unpatched(kind, "should_sample") for kind in (static, by_ratio, *by_parent)):
        return lambda _sampler, _parent, _trace_id: None

    def decide(sampler: Any, parent: SpanContext | None, trace_id: int) -> Any:
        if type(sampler) in by_parent and "should_sample" not in sampler.__dict__:
            sampler = _delegate(sampler, parent)
        kind = type(sampler)
        if kind is TaskQueueSampler:
            return sampler.decide_by_parent(parent)
        if kind is static and "should_sample" not in sampler.__dict__:
            return sampler._decision
        if kind is by_ratio and "should_sample" not in sampler.__dict__:
            return sampled if trace_id & sampler.TRACE_ID_LIMIT < sampler.bound else dropped
        return None

    return decide


def _delegate(sampler: Any, parent: SpanContext | None) -> Any:
    if parent is None:
        return sampler._root
    _, _, is_remote, flags, _, _ = parent
    if is_remote:
        if flags & TraceFlags.SAMPLED:
            return sampler._remote_parent_sampled
        return sampler._remote_parent_not_sampled
    if flags & TraceFlags.SAMPLED:
        return sampler._local_parent_sampled
    return sampler._local_parent_not_sampled
