"""The page about cost for users: its chart and its table of targets, from a file of figures.

    python -m tests.benchmarks.page

reads `cost.json`, which `python -m tests.benchmarks.run --json` has written, and brings
`docs/explanation/cost.md` and the chart beside it up to date. Measures nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks import chart, documents
from tests.benchmarks.chart import Bar
from tests.benchmarks.variants import TARGETS, Target, Variant

ROOT = Path(__file__).parents[2]
FIGURES = Path(__file__).with_name("cost.json")
PAGE = ROOT / "docs" / "explanation" / "cost.md"

Added = Mapping[str, Mapping[str, float]]
"""By the name of a variant, what it adds to a message: `us` and `kilo_instructions`."""

_OURS = "otel_queue_plugins"
_NAMES = {
    "celery contrib": "opentelemetry-instrumentation-celery",
    "celery ddtrace": "ddtrace",
    "celery sentry": "sentry-sdk",
    "celery floor": "the bare OpenTelemetry SDK",
    "dramatiq instrumentor": "opentelemetry-instrumentor-dramatiq",
    "dramatiq sentry": "sentry-sdk",
    "dramatiq floor": "the bare OpenTelemetry SDK",
}
_MODES = {
    "nosdk": "nothing configured",
    "on": "traces",
    "metrics": "traces and metrics",
    "ratio": "1 % of the traces",
    "ratio+metrics": "1 % of the traces, and metrics",
    "otlp+metrics": "traces and metrics, encoded",
}
_PEERS = {
    "celery": ("sentry", "ddtrace", "contrib", "floor"),
    "dramatiq": ("sentry", "instrumentor", "floor"),
}


def update(figures: Path, page: Path) -> None:
    """Bring `page`, and the chart beside it, to what `figures` says."""
    added: Added = json.loads(figures.read_text())["added"]
    bars = {framework.title(): list(_bars(added, framework)) for framework in _PEERS}
    page.with_suffix(".svg").write_text(chart.drawn(bars))
    documents.put_rows(page, dict(_rows(added)))


def _bars(added: Added, framework: str) -> Iterator[Bar]:
    """The others with traces alone, then ours: with traces, with all, and with nothing set."""
    for package in _PEERS[framework]:
        label = f"{_NAMES[f'{framework} {package}']}, {_MODES['on']}"
        value = added[str(Variant(framework, package, "on"))]["kilo_instructions"]
        yield Bar(label, value, ours=False)
    for mode in ("on", "metrics", "nosdk"):
        value = added[str(Variant(framework, "ours", mode))]["kilo_instructions"]
        yield Bar(f"{_OURS}, {_MODES[mode]}", value, ours=True)


def _rows(added: Added) -> Iterator[tuple[str, list[str]]]:
    """For each target whose both sides were measured: its first cell, and the others."""
    for target in TARGETS:
        ours = added.get(str(Variant(target.framework, "ours", target.mode)))
        other = added.get(str(Variant(target.framework, target.other, target.other_mode)))
        if ours and other:
            ratios = [ours[unit] / other[unit] for unit in ("kilo_instructions", "us")]
            yield _label(target), [f"{target.limit:.2f}", *(f"{ratio:.2f}" for ratio in ratios)]


def _label(target: Target) -> str:
    other = _NAMES[f"{target.framework} {target.other}"]
    if target.other_mode != target.mode:
        other += f" with {_MODES[target.other_mode]}"
    return f"{target.framework.title()}, {_MODES[target.mode]}; {other}"


def summary(costs: Mapping[Variant, Mapping[str, Any]]) -> Added:
    """The figures that this page needs, of what a run has found."""
    return {
        str(variant): {
            "us": round(cost["us"].total.middle, 1),
            "kilo_instructions": round(cost["kinstr"].total.middle, 1),
        }
        for variant, cost in costs.items()
        if "us" in cost and "kinstr" in cost
    }


if __name__ == "__main__":
    update(FIGURES, PAGE)
