"""Programs about the first and the last moment: `python -m tests.sdk.moments NAME`.

None of them calls `ensure_providers`; everything is exported at the end of a process.
"""

from __future__ import annotations

# ruff: noqa: T201 - their output is what tests wait for
import asyncio
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from opentelemetry import _logs, metrics, trace

from otel_queue_plugins import sdk
from tests.sdk.programs import record

if TYPE_CHECKING:
    from types import FrameType

os.environ.update(OTEL_BSP_SCHEDULE_DELAY="60000", OTEL_METRIC_EXPORT_INTERVAL="60000")
os.environ.update(OTEL_BLRP_SCHEDULE_DELAY="60000")
logging.basicConfig()


def say_what_is_loaded() -> None:
    """Print whether the SDK is loaded, and how many threads there are."""
    loaded = any(name.startswith("opentelemetry.sdk") for name in sys.modules)
    print(f"sdk {loaded} threads {threading.active_count()}", flush=True)


def early() -> None:
    """Records with objects got before the set-up; argv: the signals to record, in that order."""
    tracer, meter = trace.get_tracer("early"), metrics.get_meter("early")
    up_down, counter = meter.create_up_down_counter("active"), meter.create_counter("work")
    histogram, gauge = meter.create_histogram("took"), meter.create_gauge("level")
    logger = _logs.get_logger("early")
    sdk.set_up_on_first_use()
    say_what_is_loaded()

    def measure() -> None:
        up_down.add(1)
        counter.add(1)
        histogram.record(0.5)
        gauge.set(3)
        up_down.add(-1)

    acts = {
        "traces": lambda: tracer.start_span("early").end(),
        "metrics": measure,
        "logs": lambda: logger.emit(body="early"),
        "logging": lambda: logging.getLogger("shop").warning("early"),
    }
    for signal_name in sys.argv[2:]:
        acts[signal_name]()


def decorated() -> None:
    """Decorates a function before the set-up, which is no use of the tracer yet."""

    @trace.get_tracer("early").start_as_current_span("decorated")
    def work() -> None:
        return

    sdk.set_up_on_first_use()
    trace.get_tracer("early").start_as_current_span("never entered")
    say_what_is_loaded()
    work()


def observed() -> None:
    """Has an observable gauge only, collected after a while; argv: `two` forks at once."""
    from otel_queue_plugins.sdk.providers import setup

    setup._SECONDS_TO_FIRST_COLLECTION = 0.2  # type: ignore[misc]
    sdk.set_up_on_first_use()
    os.environ["OTEL_METRIC_EXPORT_INTERVAL"] = "100"
    metrics.get_meter("early").create_observable_gauge(
        "level", [lambda _: [metrics.Observation(4)]]
    )
    pid = os.fork() if sys.argv[2] == "two" else 0
    print("made", flush=True)
    sys.stdin.readline()
    if pid:
        os.waitpid(pid, 0)


def own() -> None:
    """The application sets a provider of its own; argv: when (`before`, `after`), what for."""
    when, what = sys.argv[2:]
    tracer, counter = trace.get_tracer("early"), metrics.get_meter("early").create_counter("work")
    if when == "before":
        set_own(what)
    sdk.set_up_on_first_use()
    if when == "after":
        set_own(what)
    tracer.start_span("work").end()
    counter.add(1)
    logging.getLogger("shop").warning("a record")
    print("own", what, "saw", sum(seen), flush=True)


seen: list[int] = []


def set_own(what: str) -> None:
    """Set a provider that adds what it gets to `seen`."""
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    if what == "traces":
        processor: Any = SpanProcessor()
        processor.on_end = lambda _span: seen.append(1)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(processor)
        trace.set_tracer_provider(provider)
    elif what == "metrics":
        reader = InMemoryMetricReader()
        metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
        seen.append(1)
    else:
        _logs.set_logger_provider(LoggerProvider(shutdown_on_exit=False))
        seen.append(1)


def forked() -> None:
    """Records, then forks; argv: what the child does (`records`, `sets`, `sets late`)."""
    sdk.set_up_on_first_use()
    record("parent", 10)
    pid = os.fork()
    if not pid:
        if sys.argv[2] != "records":
            set_own("traces")
        record("child")
        if sys.argv[2] == "sets late":
            set_own("metrics")
        print("own saw", sum(seen), flush=True)
        os._exit(not sdk.flush())
    os._exit(os.waitpid(pid, 0)[1] or not sdk.flush())


def pool() -> None:
    """Records, and has a pool and a process of multiprocessing record; argv: how they start."""
    sdk.set_up_on_first_use()
    record("parent")
    context: Any = multiprocessing.get_context(sys.argv[2])
    with context.Pool(1, sdk.set_up_on_first_use) as workers:
        workers.map(record, ["pool"])
    process = context.Process(target=work_in_child)
    process.start()
    process.join()


def work_in_child() -> None:
    """What a process of `pool` does."""
    sdk.set_up_on_first_use()
    record("process")


def terminated() -> None:
    """Records and waits for SIGTERM; argv: how the application handles it."""
    how = sys.argv[2]
    if how == "handled before":
        signal.signal(signal.SIGTERM, on_term)
    if how == "ignored":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sdk.set_up_on_first_use()
    if how == "handled after":
        signal.signal(signal.SIGTERM, on_term)
    record("work")
    print("shown", signal.getsignal(signal.SIGTERM), flush=True)
    if how == "restored":
        before = signal.signal(signal.SIGTERM, on_term)
        signal.signal(signal.SIGTERM, before)
    if how == "asyncio":
        asyncio.run(serve())
    print("ready", flush=True)
    while True:
        time.sleep(60)


def restored_in_thread() -> None:
    """Set up in another thread, which cannot set handlers, as in a server that loads an app."""
    signal.signal(signal.SIGTERM, on_term)
    thread = threading.Thread(target=sdk.set_up_on_first_use)
    thread.start()
    thread.join()
    record("work")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    print("ready", flush=True)
    while True:
        time.sleep(60)


async def serve() -> None:
    """As a server that shuts down by itself and raises the signal again."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    print("ready", flush=True)
    await stop.wait()
    loop.remove_signal_handler(signal.SIGTERM)
    record("shutting down")
    signal.raise_signal(signal.SIGTERM)


def on_term(number: int, _frame: FrameType | None) -> None:
    """The application's own handler."""
    print("handled", number, flush=True)
    with suppress(SystemExit):
        sys.exit(3)
    os._exit(3)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
