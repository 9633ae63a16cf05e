"""What tracing costs: ours, its peers and the floor, measured in turn on this machine.

    python -m tests.benchmarks.run --quick
    python -m tests.benchmarks.run --sections cost --json tests/benchmarks/cost.json
    python -m tests.benchmarks.run --document tests/benchmarks/COST.md
    python -m tests.benchmarks.run --sections growth --messages 1000000
    python -m tests.benchmarks.run --sections wire --rounds 8

Needs only the standard library here; each package gets an environment of its own under `--envs`.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.benchmarks import (
    cost,
    documents,
    end_to_end,
    footprint,
    growth,
    page,
    wire,
    wire_tables,
)
from tests.benchmarks.environments import ROOT, Environments
from tests.benchmarks.launching import can_count_instructions
from tests.benchmarks.progress import say
from tests.benchmarks.variants import MODES, QUICK_MODES, Variant, all_variants

_FRAMEWORKS = ("celery", "dramatiq")
_SECTIONS = ("cost", "parts", "encoding", "relay", "footprint", "growth", "names", "redis", "wire")
_PACKAGES = (
    "plain",
    "floor",
    "contrib",
    "instrumentor",
    "ddtrace",
    "sentry",
    "prometheus",
    "core",
    "ours-api",
    "ours",
)


class Run:
    """One run: prints each section as it is done, and keeps everything for the JSON."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._environments = Environments(options.envs)
        self._packages = {"plain", *options.packages}
        self.results: dict[str, Any] = {
            "machine": f"{platform.platform()}, Python {platform.python_version()}",
            "arguments": _arguments(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def run_cost(self) -> None:
        options, environments = self._options, self._environments
        modes = QUICK_MODES if options.quick else MODES
        wanted = [v for name in options.frameworks for v in all_variants(name, modes)]
        variants = cost.available([v for v in wanted if v.package in self._packages], environments)
        rounds, blocks = (options.rounds or 3, 12) if options.quick else (options.rounds or 7, 16)
        counts = self._instructions(variants)
        cpu = cost.measure_cpu(variants, environments, rounds=rounds, blocks=blocks)
        found = cost.costs(cpu, counts)
        for framework in options.frameworks:
            self.show(f"cost {framework}", cost.cost_table(framework, found, cpu))
        self.show("targets", cost.target_table(found))
        self.results["added"] = page.summary(found)
        self.results["cpu_us"] = _named(cpu)
        self.results["kilo_instructions"] = _named(counts)

    def _instructions(self, variants: list[Variant]) -> cost.Readings:
        if can_count_instructions():
            return cost.measure_instructions(variants, self._environments)
        say("no valgrind: instructions are left out")
        return {}

    def run_parts(self) -> None:
        if can_count_instructions():
            found = cost.measure_parts(self._environments)
            self.show("parts", cost.parts_table(found))
            self.results["parts_kilo_instructions"] = found

    def run_encoding(self) -> None:
        if can_count_instructions():
            found = {
                framework: cost.measure_encoding(framework, self._environments)
                for framework in self._options.frameworks
            }
            self.show("encoding", cost.encoding_table(found))
            self.results["encoding_kilo_instructions"] = found

    def run_footprint(self) -> None:
        found: footprint.Footprint = {}
        for framework in self._options.frameworks:
            rounds = 1 if self._options.quick else 5
            found |= footprint.measure(framework, self._environments, self._packages, rounds)
        self.show("footprint", footprint.footprint_table(found))
        self.results["footprint"] = _named(found)

    def run_growth(self) -> None:
        messages = self._options.messages or (10_000 if self._options.quick else 100_000)
        self._grow("growth", messages, 1, f"{messages:,} messages through one process")

    def run_names(self) -> None:
        messages = 10_000 if self._options.quick else 30_000
        self._grow("names", messages, 10_000, f"10,000 task names, {messages:,} messages")

    def _grow(self, section: str, messages: int, task_names: int, title: str) -> None:
        for framework in self._options.frameworks:
            found = growth.measure(
                framework,
                self._environments,
                self._packages,
                messages=messages,
                task_names=task_names,
            )
            text = growth.growth_table(found, f"{framework}: {title}")
            self.results.setdefault(section, {}).update(_named(found))
            ours = found.get(Variant(framework, "ours", "metrics"))
            if ours:
                text += f"\n\n{growth.plot(ours)}"
            self.show(f"{section} {framework}", text)

    def run_redis(self) -> None:
        if "celery" not in self._options.frameworks:
            return
        rounds = 2 if self._options.quick else 7
        found = end_to_end.measure(
            self._environments,
            self._packages,
            rounds=self._options.rounds or rounds,
            messages=1500 if self._options.quick else 4000,
        )
        self.show("redis", end_to_end.throughput_table(found))
        self.results["tasks_per_second"] = _named(found)

    def run_relay(self) -> None:
        if can_count_instructions():
            found = cost.measure_relay(self._environments)
            self.show("relay", cost.relay_table(found))
            self.results["relay_kilo_instructions"] = found

    def run_wire(self) -> None:
        rounds = self._options.rounds or (1 if self._options.quick else 6)
        messages = self._options.messages or (1500 if self._options.quick else 5000)
        for framework in self._options.frameworks:
            found, again = wire.measure(
                framework, self._environments, self._packages, rounds=rounds, messages=messages
            )
            if found:
                tables = [wire_tables.speed_table(found, again), wire_tables.target_table(found)]
                tables += [wire_tables.memory_table(found), wire_tables.collector_table(found)]
                self.show(f"wire {framework}", "\n\n".join(tables))
                self.results.setdefault("wire", {}).update(_named(found))
        if "celery" in self._options.frameworks:
            short = wire.measure_short_lives(
                self._environments, self._packages, rounds=min(rounds, 3), messages=200
            )
            if short:
                self.show("wire short lives", wire_tables.short_lives_table(short, 200))
                self.results["short_lives"] = _named(short)

    def show(self, name: str, text: str) -> None:
        """Print a table, and put it where the document has a place of that name."""
        sys.stdout.write(text + "\n\n")
        sys.stdout.flush()
        if self._options.document:
            how = f"$ python -m tests.benchmarks.run {self.results['arguments']}"
            how = f"{how}\n{self.results['machine']}"
            documents.put(self._options.document, name, f"{how}\n\n{text}")


def _named(values: dict[Variant, Any]) -> dict[str, Any]:
    return {str(variant): value for variant, value in values.items()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer modes, rounds and sections: about two minutes")
    add("--json", type=Path, help="also write everything measured to this file")
    add("--document", type=Path, help="put the tables into this document, where it names them")
    add("--sections", nargs="+", choices=_SECTIONS, help="default: all; with --quick the first")
    add("--frameworks", nargs="+", choices=_FRAMEWORKS, default=list(_FRAMEWORKS))
    add("--packages", nargs="+", choices=_PACKAGES, default=list(_PACKAGES))
    add("--rounds", type=int, help="process launches per variant")
    add("--messages", type=int, help="messages of the growth and wire sections")
    add("--envs", type=Path, default=ROOT / ".tox" / "bench-envs")
    return parser.parse_args()


def _arguments() -> str:
    """What was measured, as it was typed; where the results go is left out."""
    arguments = " ".join(sys.argv[1:])
    return re.sub(r" ?--(json|document)[ =]\S+", "", arguments).strip()


def main() -> None:
    """Measure what the command line asks for."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run = Run(options)
    say(run.results["machine"])
    sections = options.sections or (_SECTIONS[:1] if options.quick else _SECTIONS)
    for section in sections:
        getattr(run, f"run_{section}")()
    if options.json:
        options.json.write_text(json.dumps(run.results, indent=1) + "\n")


if __name__ == "__main__":
    main()
