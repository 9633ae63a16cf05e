"""What the SDK's own samplers say. They look at nothing but the parent and the trace id."""

from __future__ import annotations

# ruff: noqa: SLF001 - the parts of a sampler are private
from typing import TYPE_CHECKING, Any

from otel_queue_plugins.sdk.shortcuts.untouched import are_own

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import SpanContext

    Decide = Callable[[SpanContext | None, int], Any]

_DELEGATES = (
    "_root",
    "_remote_parent_sampled",
    "_remote_parent_not_sampled",
    "_local_parent_sampled",
    "_local_parent_not_sampled",
)


def decider(sampler: Any) -> Decide | None:
    """How `sampler` decides; None unless it is the SDK's, down to its delegates, and unpatched.

    Such samplers hand on the attributes as they are, and the trace state of the parent.
    """
    from opentelemetry.sdk.trace import sampling

    kind = type(sampler)
    if kind.__module__ != sampling.__name__ or not are_own(kind, "should_sample"):
        return None
    if "should_sample" in vars(sampler):
        return None
    if kind is sampling.StaticSampler:
        decision = sampler._decision
        return lambda _parent, _trace_id: decision
    if kind is sampling.TraceIdRatioBased:
        limit, bound = sampler.TRACE_ID_LIMIT, sampler.bound
        yes, no = sampling.Decision.RECORD_AND_SAMPLE, sampling.Decision.DROP
        return lambda _parent, trace_id: yes if trace_id & limit < bound else no
    if kind in {sampling.ParentBased, sampling.ParentBasedTraceIdRatio}:
        return _by_parent(*(decider(getattr(sampler, name)) for name in _DELEGATES))
    return None


def _by_parent(
    root: Decide | None,
    far_yes: Decide | None,
    far_no: Decide | None,
    near_yes: Decide | None,
    near_no: Decide | None,
) -> Decide | None:
    if not (root and far_yes and far_no and near_yes and near_no):
        return None

    def decide(parent: SpanContext | None, trace_id: int) -> Any:
        if parent is None:
            return root(parent, trace_id)
        yes, no = (far_yes, far_no) if parent.is_remote else (near_yes, near_no)
        return (yes if parent.trace_flags.sampled else no)(parent, trace_id)

    return decide
