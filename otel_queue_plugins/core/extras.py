"""Packages that come with an extra of this one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def required(title: str, extra: str) -> Iterator[None]:
    """Around imports of a package: where it is missing, the error says what to install.

    `title` is its name in prose, `extra` both the name of its module and of our extra. Raises
    ModuleNotFoundError, which `opentelemetry-instrument` takes for "not used here".
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != extra:
            raise
        line = f"{title} is not installed: pip install 'otel-queue-plugins[{extra}]'"
        raise ModuleNotFoundError(line, name=extra) from None
