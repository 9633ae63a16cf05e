"""The state of one process of a worker, and how it travels to the process that serves it."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from otel_queue_plugins.sdk import global_providers, relay
from otel_queue_plugins.sdk.export import exported
from otel_queue_plugins.sdk.relay import numbers
from otel_queue_plugins.worker_http.worker import Loop, Phase, Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessState:
    """What one process knows of itself and of the pool processes that it has started.

    `running` has the task and the start of each delivery, None where only metrics know. `exported`
    counts spans, None where others export them. `metrics` is an `ExportMetricsServiceRequest`, and
    `why_no_metrics` the reason why it is empty.
    """

    pid: int
    phase: Phase
    loops: list[Loop]
    captured_at: float
    capacity: int | None
    reserved: int | None
    scheduled: int | None
    running: list[tuple[str, float]] | None
    exported: int | None
    dropped: dict[str, int]
    last_export_at: float | None
    why_no_metrics: str | None
    metrics: bytes = field(default=b"", repr=False)


def of_this_process(worker: Worker, why_no_metrics: str | None = None) -> ProcessState:
    """The state now. May wait for a lock of the SDK.

    `why_no_metrics` is the reason why nobody gathers the metrics; None where somebody does.
    """
    why_not = why_no_metrics or _why_no_metrics(worker)
    return ProcessState(
        **health_of_this_process(worker),
        captured_at=time.time(),
        capacity=worker.capacity(),
        reserved=worker.reserved(),
        scheduled=worker.scheduled(),
        running=None if worker.running is None else worker.running(),
        exported=exported.spans() if _is_ours("traces", worker.tracer_provider()) else None,
        dropped=exported.dropped(),
        last_export_at=exported.last_at(),
        why_no_metrics=why_not,
        # Export requests are joined by concatenation, which protobuf defines.
        metrics=b""
        if why_not
        else numbers.of_provider(worker.meter_provider()) + numbers.of_service(),
    )


def health_only(worker: Worker) -> ProcessState:
    """The part of the state that takes no lock; the rest is unknown."""
    return ProcessState(
        **health_of_this_process(worker),
        captured_at=time.time(),
        capacity=None,
        reserved=None,
        scheduled=None,
        running=None,
        exported=None,
        dropped={},
        last_export_at=None,
        why_no_metrics="not collected yet",
    )


def health_of_this_process(worker: Worker) -> dict[str, Any]:
    """What probes ask about."""
    return {"pid": os.getpid(), "phase": worker.phase(), "loops": list(worker.loops())}


def encode(state: ProcessState) -> bytes:
    """One line of JSON, and the metrics after it."""
    facts = asdict(state)
    del facts["metrics"]
    return json.dumps(facts).encode() + b"\n" + state.metrics


def decode(content: bytes) -> ProcessState:
    """Raises ValueError or TypeError for what is no such state."""
    line, _, metrics = content.partition(b"\n")
    facts = json.loads(line)
    facts["loops"] = [Loop(*loop) for loop in facts["loops"]]
    if facts["running"] is not None:
        facts["running"] = [(task, at) for task, at in facts["running"]]
    return ProcessState(**facts, metrics=metrics)


def _why_no_metrics(worker: Worker) -> str | None:
    provider = worker.meter_provider()
    is_relayed = relay.is_on("metrics") and _is_ours("metrics", provider)
    if worker.has_pool_processes() and not is_relayed:
        return (
            "each pool process keeps its own numbers: its meter provider is the application's, "
            "or the pool is not forked, or metrics go to an exporter that is not OTLP"
        )
    if relay.meter_provider() is None and not numbers.keep(provider):
        return "no meter provider of the SDK is set"
    return None


def _is_ours(signal: str, provider: Any) -> bool:
    """Whether `provider` was set up by this package, or nobody has set one up to now."""
    return provider is global_providers.OWN.get(signal) or "Proxy" in type(provider).__name__
