"""Other tracers in the same process, found by the functions that a framework calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

TRACERS: Final = {
    "opentelemetry.instrumentation.celery": "opentelemetry-instrumentation-celery",
    "ddtrace": "ddtrace",
    "sentry_sdk": "sentry-sdk",
}
"""The names people know them by, by the package of their code."""


def titles(modules: Iterable[str | None]) -> list[str]:
    """The names of the tracers that have written one of `modules`."""
    names = {name for name in modules if name}
    return [
        title
        for package, title in TRACERS.items()
        if any(name == package or name.startswith(f"{package}.") for name in names)
    ]


def wrappers(function: Any) -> Iterator[Any]:
    """`function`, and all that it is a wrapper of."""
    while function is not None:
        yield function
        function = getattr(function, "__wrapped__", None)


def module_of(function: Any) -> str | None:
    """Return the module that `function` was written in; None if that is unknown."""
    # `functools.wraps` copies `__module__` from what is wrapped, so the globals are asked.
    function = getattr(function, "_self_wrapper", function)
    function = getattr(function, "__func__", function)
    name = getattr(function, "__globals__", {}).get("__name__")
    return name if isinstance(name, str) else None
