"""Who has written a function that a framework calls."""

from __future__ import annotations

from functools import wraps

from otel_queue_plugins.core import other_tracers


def original() -> None:
    """What is wrapped."""


@wraps(original)
def wrapper() -> None:
    """What is called."""


def test_wrappers_are_found_down_to_the_original() -> None:
    """The outermost first."""
    assert list(other_tracers.wrappers(wrapper)) == [wrapper, original]


def test_module_is_that_of_the_code() -> None:
    """Also of a method; what has no code has none."""

    class Receiver:
        def receive(self) -> None:
            """A bound method has the function inside."""

    assert other_tracers.module_of(wrapper) == __name__
    assert other_tracers.module_of(Receiver().receive) == __name__
    assert other_tracers.module_of(len) is None


def test_tracer_is_known_by_its_package() -> None:
    """Not by a name that only begins alike."""
    modules = ["ddtrace.contrib.celery", "sentry_sdk", "sentry_sdk_of_others", None]
    assert other_tracers.titles(modules) == ["ddtrace", "sentry-sdk"]
    assert other_tracers.titles(["ddtracer"]) == []
