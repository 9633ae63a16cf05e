"""Stack traces have frames of Celery and of the user, and none of ours."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from celery import chain
from kombu.exceptions import EncodeError

import otel_queue_plugins
from tests.celery.conftest import memory_app, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from tests.celery.conftest import Telemetry

PACKAGE = f"{Path(otel_queue_plugins.__file__).parent}/"


@pytest.fixture(scope="module")
def shop() -> Iterator[Celery]:
    """Tasks that fail in their own code, in a send, in a call, and in several of them."""
    app = memory_app()

    @app.task(shared=False, name="add")
    def add(*_: Any) -> None:
        pass

    @app.task(shared=False, name="broken")
    def broken() -> None:
        raise ValueError("in the task")

    @app.task(shared=False, name="sending")
    def sending() -> None:
        chain(add.s(object()), add.s()).delay()

    @app.task(shared=False, name="calling")
    def calling() -> None:
        broken.apply(throw=True)

    @app.task(shared=False, name="several")
    def several() -> None:
        found: list[Exception] = []
        try:
            add.delay(object())
        except EncodeError as error:
            found.append(error)
        raise vars(builtins)["ExceptionGroup"]("several", found) from found[0]

    with running(app):
        yield app


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("broken", "in broken"),
        ("sending", "in sending"),
        ("calling", "in broken"),
        pytest.param(
            "several",
            "ExceptionGroup: several",
            marks=pytest.mark.skipif(sys.version_info < (3, 11), reason="no groups"),
        ),
    ],
)
def test_stacktrace_of_failed_task_has_its_own_frames(
    shop: Celery, telemetry: Telemetry, name: str, place: str
) -> None:
    """It has no frames of ours, neither before the task nor between the task and a send."""
    shop.tasks[name].delay()
    (process,) = telemetry.expect(1, f"process {name}")
    (event,) = [event for event in process.events if event.name == "exception"]
    text = process.attributes["exception.stacktrace"]
    assert place in text
    assert PACKAGE not in text
    assert event.attributes["exception.stacktrace"] == text


def test_stacktrace_of_failed_send_has_frames_of_celery(shop: Celery, telemetry: Telemetry) -> None:
    """From the call of the broker client on."""
    with pytest.raises(EncodeError):
        shop.tasks["add"].delay(object())
    text = telemetry.one("send add").attributes["exception.stacktrace"]
    assert "kombu" in text
    assert PACKAGE not in text
