"""The options of `otel-queue dashboards`."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Final

BACKENDS: Final = ("grafana", "prometheus", "datadog", "honeycomb")

EXAMPLES: Final = """examples:
  otel-queue dashboards monitoring
  otel-queue dashboards monitoring --only grafana --only prometheus --force"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("directory", type=Path, metavar="DIR", help="where the files are written")
    parser.add_argument(
        "--only",
        action="append",
        choices=BACKENDS,
        metavar="BACKEND",
        help=f"the files for this backend alone: {', '.join(BACKENDS)} (repeatable; default: all)",
    )
    parser.add_argument(
        "--force", action="store_true", help="overwrite files that are there with other content"
    )
