"""Stack traces show the code of the user and of the framework, and no frame of this package."""

from __future__ import annotations

import builtins
import operator
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import otel_queue_plugins
from otel_queue_plugins.core import exceptions
from otel_queue_plugins.core.messages import Ending, Message, Outcome
from tests.core.conftest import ROUTE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.core.conftest import Queue

PACKAGE = Path(otel_queue_plugins.__file__).parent
Through = Callable[[Any], Any] if TYPE_CHECKING else Any

straight = operator.methodcaller("__call__")


def calling_from(path: str) -> Through:
    """A function that calls another one, as if it were on line 20 of a file of the package."""

    def through(call: Any) -> Any:
        return call()

    code = through.__code__.replace(co_filename=str(PACKAGE / path), co_firstlineno=20)
    through.__code__ = code
    return through


def fail() -> None:
    """Raise."""
    raise ValueError("no luck")


def plain(through: Through) -> None:
    """One exception."""
    through(fail)


def caused(through: Through) -> None:
    """With a cause."""
    try:
        through(fail)
    except ValueError as error:
        raise KeyError("missing") from error


def during(through: Through) -> None:
    """While another was handled."""
    try:
        through(fail)
    except ValueError:
        through(lambda: {}["missing"])


def noted(through: Through) -> None:
    """With a note of two lines."""
    try:
        through(fail)
    except ValueError as error:
        error.__notes__ = ["seen\n  twice"]
        raise


def deep(through: Through, depth: int = 0) -> None:
    """A recursion."""
    through(lambda: deep(through, depth + 1) if depth < 40 else fail())


def raised(call: Callable[[Through], None], through: Through) -> Exception:
    """What `call` raises when it goes `through` somebody."""
    try:
        call(through)
    except Exception as error:  # noqa: BLE001 - it is what this is about
        return error
    raise AssertionError


def grouped(through: Through) -> None:
    """A group in a group."""
    several: Any = vars(builtins)["ExceptionGroup"]
    found = [raised(plain, through), raised(caused, through)]

    def fail_together() -> None:
        raise several("outer", [*found, several("inner", found)])

    through(fail_together)


WAYS = [plain, caused, during, noted, deep, *([grouped] if sys.version_info >= (3, 11) else [])]


@pytest.mark.parametrize("formatted", [False, True], ids=["exception", "text"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("place", ["core/exceptions.py", "celery/of_no_known_source.py"])
def test_stack_trace_has_no_frame_of_this_package(
    way: Callable[[Through], None], place: str, formatted: bool
) -> None:
    """Causes, contexts, notes and groups are the same as without our frames."""

    def shown(through: Through) -> str:
        error = raised(way, through)
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        return exceptions.stacktrace(error, text if formatted else None)

    assert shown(calling_from(place)) == shown(straight)
    assert "in fail" in shown(straight)


def test_stack_trace_keeps_frames_of_demo_apps() -> None:
    """The apps of the demo are user code."""
    text = exceptions.stacktrace(raised(plain, calling_from("cli/demo/shop/work.py")))
    assert "cli/demo/shop/work.py" in text


def test_stack_trace_is_cut_after_our_frames_are_removed() -> None:
    """The bound applies to what is shown."""
    error = raised(deep, calling_from("celery/of_no_known_source.py"))
    text = exceptions.stacktrace(
        error, "x" * (exceptions.MAX_STACKTRACE - 100) + exceptions.stacktrace(error)
    )
    assert len(text) == exceptions.MAX_STACKTRACE + 4
    assert text.endswith("ValueError: no luck\n")


def test_stack_trace_is_formatted_once_for_attribute_and_event(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attribute and event have one text, for deliveries and for sends."""
    error = raised(plain, calling_from("core/exceptions.py"))
    format_exception, calls = traceback.format_exception, []

    def counting(*arguments: Any) -> list[str]:
        calls.append(arguments)
        return format_exception(*arguments)

    monkeypatch.setattr(traceback, "format_exception", counting)
    process = queue.process({}, Ending(outcome=Outcome.FAILURE, error=error))
    send = queue.telemetry.start_send(Message(route=ROUTE, id="m1"), {})
    queue.telemetry.end_send(send, error)
    texts = {str(span.attributes["exception.stacktrace"]) for span in (process, queue.spans()[-1])}
    texts |= {
        str(event.attributes["exception.stacktrace"])
        for span in (process, queue.spans()[-1])
        for event in span.events
    }
    assert len(texts) == 1
    assert str(PACKAGE) not in texts.pop()
    assert len(calls) == 2
