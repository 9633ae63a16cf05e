"""Imports of packages that an extra of this package installs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def required(title: str, extra: str) -> Iterator[None]:
    """Run imports of a package; if it is missing, the error says what to install.

    Args:
        title: The name of the package in prose.
        extra: The name of its module, and of our extra.

    Raises:
        ModuleNotFoundError: The package is missing. `opentelemetry-instrument` then leaves it out.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != extra:
            raise
        line = f"{title} is not installed: pip install 'otel-queue-plugins[{extra}]'"
        raise ModuleNotFoundError(line, name=extra) from None
