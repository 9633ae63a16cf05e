"""The arguments of `otel-queue completion`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Final

SHELLS: Final = ("bash", "fish", "zsh")

EXAMPLES: Final = """in the file that your shell reads at its start:
  bash  eval "$(otel-queue completion bash)"
  fish  otel-queue completion fish | source
  zsh   source <(otel-queue completion zsh)    (after compinit)

examples:
  otel-queue completion bash
  otel-queue completion zsh"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the shell."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to read the script")
