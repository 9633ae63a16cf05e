"""The arguments of `otel-queue completion`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Final

SHELLS: Final = ("bash",)

EXAMPLES: Final = """examples:
  otel-queue completion bash"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the shell."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to read the script")
