"""What `instrument` puts in place is taken back, and other code and apps are left alone."""

from __future__ import annotations

import importlib
import logging
import threading
from types import FunctionType
from typing import TYPE_CHECKING, Any

import celery.app.trace
import pytest
from celery import Celery, Task, signals
from celery.app.amqp import AMQP
from celery.canvas import Signature, group
from opentelemetry import context, trace

from otel_queue_plugins.celery import coexistence, uninstrument
from otel_queue_plugins.celery.instrumentor import CeleryInstrumentor
from otel_queue_plugins.celery.plugin import CeleryPlugin
from otel_queue_plugins.core.options import Options
from tests.celery.conftest import describe, instrumenting, memory_app, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

SIGNALS = [
    getattr(signals, name) for name in signals.__all__ if hasattr(getattr(signals, name), "send")
]
PATCHED = [
    (Celery, "send_task"),
    (AMQP, "_create_task_sender"),
    (Task, "apply_async"),
    (celery.app.trace, "build_tracer"),
    (Signature, "delay"),
    (Signature, "__call__"),
    (group, "apply_async"),
    *[
        (importlib.import_module(f"celery.{module}"), name)
        for module, name in (
            ("worker.request", "Request"),
            ("worker.worker", "WorkController"),
            ("worker.consumer.consumer", "Consumer"),
            ("worker.consumer.consumer", "build_tracer"),
            ("worker.strategy", "create_request_cls"),
            ("backends.base", "Backend"),
        )
        if hasattr(importlib.import_module(f"celery.{module}"), name)
    ],
]


def one() -> int:
    """The body of a task."""
    return 1


def state() -> list[Any]:
    """Everything of Celery's that we patch, by identity."""
    found: list[Any] = [[id(receiver) for _, receiver in s.receivers or ()] for s in SIGNALS]
    for owner, name in PATCHED:
        value = vars(owner)[name]
        found.append(id(value))
        if isinstance(value, type):
            found.append({key: id(each) for key, each in vars(value).items()})
    return found


def test_uninstrument_leaves_nothing_behind() -> None:
    """No receiver, no wrapper, no thread, no wrapped tracer of a task, no context."""
    before, threads = state(), set(threading.enumerate())
    app = memory_app()
    task = app.task(shared=False, name="add")(one)
    with instrumenting() as telemetry:
        with running(app):
            task.delay().get(timeout=60, interval=0.01)
            telemetry.expect(2)
        assert state() != before
    assert state() == before
    assert not any("otel" in thread.name for thread in set(threading.enumerate()) - threads)
    assert type(app.tasks["add"].__trace__) is FunctionType
    assert not context.get_current()


def test_second_instrument_adds_no_wrapper() -> None:
    """Also through the entry point."""
    app = memory_app()
    with instrumenting():
        once = state()
        with instrumenting(app):
            CeleryInstrumentor().instrument()
            assert state() == once
    with instrumenting() as telemetry, instrumenting(app):
        app.send_task("a")
        telemetry.expect(1)


def test_app_that_has_sent_before_is_traced() -> None:
    """The sender that Celery has made for it is wrapped, and unwrapped by `uninstrument`."""
    app = memory_app()
    app.send_task("a")
    sender = app.amqp.send_task_message
    with instrumenting() as telemetry:
        app.send_task("a")
        telemetry.expect(1)
    assert app.amqp.send_task_message is sender
    app.send_task("a")
    assert len(telemetry.spans()) == 1


def test_app_that_first_sends_while_traced_has_own_sender_after() -> None:
    """It has a sender of Celery's own after `uninstrument`."""
    app = memory_app()
    with instrumenting() as telemetry:
        app.send_task("a")
        telemetry.expect(1)
        observed = app.amqp.send_task_message
    assert app.amqp.send_task_message is observed.__wrapped__


def test_uninstrument_without_instrument_changes_nothing() -> None:
    """Nothing of Celery's is changed."""
    before = state()
    uninstrument()
    CeleryInstrumentor().uninstrument()
    assert state() == before


def test_instrument_with_app_leaves_other_apps_alone() -> None:
    """`instrument(app)` leaves every other app alone, and the headers of its messages."""
    named, other = memory_app(), memory_app()
    sent: list[dict[str, Any]] = []

    def look(headers: dict[str, Any], **_: Any) -> None:
        sent.append(dict(headers))

    try:
        with instrumenting(named) as telemetry:
            signals.before_task_publish.connect(look)
            named.send_task("a")
            other.send_task("b")
            spans = telemetry.expect(1)
    finally:
        signals.before_task_publish.disconnect(look)
    assert spans[0].name == "send a", describe(spans)
    assert ["otq" in headers for headers in sent] == [True, False]


@pytest.mark.parametrize("finalised", [False, True])
@pytest.mark.parametrize("handlers_first", [False, True])
def test_instrument_in_any_order_traces_the_app(finalised: bool, handlers_first: bool) -> None:
    """The app may be finalised or not; receivers of the user are called inside our spans."""
    seen: list[bool] = []

    def handler(**_: Any) -> None:
        seen.append(trace.get_current_span().get_span_context().is_valid)

    def connect() -> None:
        for signal in (signals.before_task_publish, signals.task_prerun, signals.task_postrun):
            signal.connect(handler)

    app = memory_app()
    task = app.task(shared=False, name="add")(one)
    if finalised:
        app.finalize()
    if handlers_first:
        connect()
    try:
        with instrumenting() as telemetry:
            if not handlers_first:
                connect()
            with running(app):
                task.delay().get(timeout=60, interval=0.01)
                telemetry.expect(2)
                until(lambda: len(seen) == 3)
    finally:
        for signal in (signals.before_task_publish, signals.task_prerun, signals.task_postrun):
            signal.disconnect(handler)
    assert seen == [True, True, True]


def test_uninstrument_keeps_wrapper_on_top_of_ours() -> None:
    """The wrapper of another package stays; ours does nothing any more."""
    original = vars(Celery)["send_task"]
    app = memory_app()
    calls: list[str] = []
    with instrumenting() as telemetry:
        ours = vars(Celery)["send_task"]

        def theirs(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return ours.__get__(self)(name, *args, **kwargs)

        Celery.send_task = theirs
    try:
        app.send_task("a")
        assert calls == ["a"]
        assert not telemetry.spans()
    finally:
        Celery.send_task = original


def test_send_without_sdk_propagates_callers_context() -> None:
    """There is no span of ours, but the next service gets the context of the caller."""
    app = memory_app()
    sent: dict[str, Any] = {}

    def look(headers: dict[str, Any], **_: Any) -> None:
        sent.update(headers)

    plugin = CeleryPlugin(
        options=Options(),
        tracer_provider=trace.NoOpTracerProvider(),
        meter_provider=importlib.import_module("opentelemetry.metrics").NoOpMeterProvider(),
    )
    plugin.install()
    plugin.cover(None)
    signals.before_task_publish.connect(look)
    here = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(1))
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(here)))
    try:
        app.send_task("add")
    finally:
        context.detach(token)
        signals.before_task_publish.disconnect(look)
        plugin.uninstall()
    assert sent["traceparent"] == f"00-{1:032x}-{2:016x}-01"


def _function_of(module: str) -> Any:
    """A function that seems to be written in `module`."""
    return eval("lambda *args, **kwargs: None", {"__name__": module})  # noqa: S307


@pytest.fixture
def contrib() -> Iterator[None]:
    """A receiver of another tracer."""
    theirs = _function_of("opentelemetry.instrumentation.celery")
    signals.before_task_publish.connect(theirs, weak=False)
    yield
    signals.before_task_publish.disconnect(theirs)


@pytest.mark.usefixtures("contrib")
def test_other_tracer_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """One warning for a process, that names it and says what to do."""
    app = memory_app()
    caplog.set_level(logging.WARNING)
    with instrumenting():
        app.send_task("a")
        app.send_task("b")
    (record,) = [r for r in caplog.records if "seen twice" in r.getMessage()]
    assert "opentelemetry-instrumentation-celery" in record.getMessage()


def test_user_receivers_are_not_other_tracers(caplog: pytest.LogCaptureFixture) -> None:
    """Neither our wrappers nor receivers of users are another tracer."""

    def handler(**_: Any) -> None:
        """The user's."""

    signals.task_prerun.connect(handler)
    try:
        with instrumenting():
            memory_app().send_task("a")
            assert coexistence.active_tracers() == []
    finally:
        signals.task_prerun.disconnect(handler)
    assert "seen twice" not in caplog.text


@pytest.mark.parametrize("on_top", [False, True])
def test_other_tracer_that_patches_is_found_under_and_over_ours(
    monkeypatch: pytest.MonkeyPatch, on_top: bool
) -> None:
    """Sentry replaces `build_tracer`, before or after us."""
    theirs = _function_of("sentry_sdk.integrations.celery")
    if not on_top:
        monkeypatch.setattr(celery.app.trace, "build_tracer", theirs)
    with instrumenting():
        if on_top:
            monkeypatch.setattr(celery.app.trace, "build_tracer", theirs)
        assert coexistence.active_tracers() == ["sentry-sdk"]
