"""Small programs that tests run as processes of their own: `python -m tests.sdk.programs NAME`."""

from __future__ import annotations

# ruff: noqa: T201 - their output is what tests wait for
import atexit
import faulthandler
import logging
import multiprocessing
import os
import re
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics, trace

from otel_queue_plugins import sdk
from otel_queue_plugins.core.messages import Delivery, Route
from otel_queue_plugins.core.operation import ProcessOperation

if TYPE_CHECKING:
    from collections.abc import Callable


PAYING = ProcessOperation(
    Delivery(route=Route(system="redis", destination="shop", task="shop.pay"), id="id-1")
)


def record(who: str, count: int = 1) -> None:
    """One span and `count` on a counter and a histogram, all marked with who did it."""
    meter = metrics.get_meter("tests")
    with trace.get_tracer("tests").start_as_current_span(who):
        meter.create_counter("work").add(count, {"who": who})
        meter.create_histogram("took", unit="s").record(0.25, {"who": who})


def use_own_providers(protocol: str) -> None:
    """What a user writes who configures the SDK by hand, before any fork."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    package = f"opentelemetry.exporter.otlp.proto.{'grpc' if protocol == 'grpc' else 'http'}"
    spans = import_module(f"{package}.trace_exporter").OTLPSpanExporter()
    numbers = import_module(f"{package}.metric_exporter").OTLPMetricExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(spans))
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(numbers)]))


def say_how_long_the_end_takes() -> Callable[[], None]:
    """Returns a function to call last; it prints the seconds that the exit handlers take."""
    ended: list[float] = []
    atexit.register(lambda: print(f"left after {time.monotonic() - ended[0]:.2f} s", flush=True))

    def end() -> None:
        print("ends", flush=True)
        ended.append(time.monotonic())

    return end


def script() -> None:
    """A plain script: set up, record, end."""
    end = say_how_long_the_end_takes()
    sdk.validate()
    sdk.ensure_providers()
    record("script")
    logging.getLogger("tests").warning("a record")
    end()


def talkative() -> None:
    """Prints our log lines from INFO on, sets up, and has two children do the same."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    if sys.argv[2:] == ["own"]:
        use_own_providers("http/protobuf")
    if sys.argv[2:] != ["children"]:
        sdk.ensure_providers()
        sdk.ensure_providers("traces")
    for number in range(2):
        os.waitpid(fork(record, f"child-{number}"), 0)
    sdk.ensure_providers()


def rich_script() -> None:
    """Records what `script` does, and a span with attributes, events and links."""
    sdk.ensure_providers()
    tracer = trace.get_tracer("tests")
    other = trace.SpanContext(7, 7, is_remote=True)
    record("root")
    with tracer.start_as_current_span(
        "rich", attributes={"a": "abcdef", "b": 2, "c": 3}, links=[trace.Link(other)] * 3
    ) as span:
        span.add_event("first", {"a": 1, "b": 2})
        span.add_event("second")


def foreign_provider() -> None:
    """A tracer provider that is not the SDK's, as some vendors bring one, and nothing for metrics.

    Prints the names that it was asked for, in this process and in a child.
    """

    class Foreign(trace.NoOpTracerProvider):
        def get_tracer(self, name: str, *args: Any, **kwargs: Any) -> trace.Tracer:
            print(f"asked for {name}", flush=True)
            return super().get_tracer(name, *args, **kwargs)

    foreign = Foreign()
    trace.set_tracer_provider(foreign)
    sdk.validate()
    sdk.ensure_providers()
    record("script")
    os.waitpid(fork(record, "child"), 0)
    print("flushed", sdk.flush(), "unchanged", trace.get_tracer_provider() is foreign, flush=True)


def own_providers() -> None:
    """The user set providers; prints whether they are still the global ones."""
    use_own_providers("http/protobuf")
    before = trace.get_tracer_provider(), metrics.get_meter_provider()
    sdk.validate()
    sdk.ensure_providers()
    record("script")
    print("unchanged", before == (trace.get_tracer_provider(), metrics.get_meter_provider()))


def carrying() -> None:
    """Prints the headers that a message would carry."""
    sdk.validate()
    from opentelemetry import propagate

    sdk.ensure_providers()
    carrier: dict[str, str] = {}
    with trace.get_tracer("tests").start_as_current_span("work"):
        propagate.inject(carrier)
    print("carrier", sorted(carrier), flush=True)


def flushing_script() -> None:
    """A script that flushes as a worker would, and then ends."""
    end = say_how_long_the_end_takes()
    sdk.ensure_providers()
    record("script")
    end()
    print("flushed", sdk.flush(), flush=True)


def family() -> None:
    """Records, then starts three children of multiprocessing (argv: how) that record too."""
    sdk.ensure_providers()
    record("parent")
    context: Any = multiprocessing.get_context(sys.argv[2])
    children = [context.Process(target=child) for _ in range(3)]
    for each in children:
        each.start()
    for each in children:
        each.join()


def child() -> None:
    """What a child of `family` does: no flush, nothing."""
    sdk.ensure_providers()
    record("child")


def idle() -> None:
    """Calls everything without `OTEL_*`, and prints whether the SDK was loaded."""
    sdk.validate()
    sdk.ensure_providers()
    record("idle")
    print("flushed", sdk.flush(), "sdk", "opentelemetry.sdk" in sys.modules)


def logging_script() -> None:
    """Logs in a task, outside, and with an exception, after the root logger lost its handlers."""
    sdk.ensure_providers()
    logging.basicConfig(level=logging.INFO)
    logging.root.handlers = []
    logger = logging.getLogger("shop")
    PAYING.enter()
    with trace.get_tracer("tests").start_as_current_span("work"):
        logger.warning("paid %d times", 7, extra={"customer": 12, "object": object()})
        logger.debug("below the level")
    PAYING.leave()
    logger.info("outside")
    try:
        print(1 / 0)
    except ZeroDivisionError:
        logger.exception("failed")


def spans_on_request() -> None:
    """Records as many spans as each line of stdin has as a number, and answers each line."""
    sdk.validate()
    sdk.ensure_providers()
    tracer = trace.get_tracer("tests")
    for line in sys.stdin:
        began = time.perf_counter()
        for _ in range(int(line)):
            tracer.start_span("work").end()
        took = time.perf_counter() - began
        print(f"recorded {took / int(line) * 1e6:.1f} us each, {most_memory()} kB", flush=True)
    print("ends", flush=True)


def most_memory() -> int:
    """The most that this program has had in memory (Linux), in KiB.

    `getrusage` would give what the process had that started it, if that was more.
    """
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def generations() -> None:
    """Records 10, forks three children that record 1 each, one of them a grandchild too.

    argv: whose providers (`ours` or `user`), and whether each has flushed before it forks.
    """
    if sys.argv[2] == "user":
        use_own_providers(os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"])
    sdk.validate()
    sdk.ensure_providers()
    record("parent", 10)
    if sys.argv[3] == "flushed":
        sdk.flush()
    pids = [fork(descend, f"child-{number}") for number in range(3)]
    for pid in pids:
        os.waitpid(pid, 0)
    record("parent", 5)
    os._exit(not sdk.flush())


def one_task_children() -> None:
    """Children that end after one span each, one after the other; how long each of them took."""
    sdk.validate()
    sdk.ensure_providers()
    for line in sys.stdin:
        began = time.monotonic()
        os.waitpid(fork(record, line.strip()), 0)
        print(f"took {time.monotonic() - began:.2f} s", flush=True)


def late_set_up() -> None:
    """Forks two children before anything is set up; each sets up for itself."""
    sdk.validate()
    pids = [fork(record, f"child-{number}") for number in range(2)]
    os._exit(any(os.waitpid(pid, 0)[1] for pid in pids))


def descend(who: str) -> None:
    """What a child of `generations` does."""
    record(who)
    if who == "child-0":
        os.waitpid(fork(descend, "grandchild"), 0)


def fork(act: Callable[[str], None], who: str) -> int:
    """Run `act(who)` in a child that flushes at its end; the pid of the child."""
    pid = os.fork()
    if pid:
        return pid
    sdk.ensure_providers()
    act(who)
    os._exit(not sdk.flush())


def encoding_script() -> None:
    """Records in this process and in a child; each says what our encoder was given."""
    from otel_queue_plugins.sdk.fastpath.encoding.encoder import Encoder

    request = Encoder.request
    given: dict[str, int] = {}

    def counted(encoder: Encoder, batch: Any) -> bytes:
        kind = encoder.signal.record.__name__
        given[kind] = given.get(kind, 0) + len(batch)
        return request(encoder, batch)

    def work(who: str) -> None:
        given.clear()  # the trial, or what the parent encoded
        record(who)
        logging.getLogger("tests").warning("of %s", who)
        sdk.flush()
        print("encoded", who, sorted(given.items()), flush=True)

    Encoder.request = counted  # type: ignore[method-assign]
    sdk.ensure_providers()
    work("parent")
    os.waitpid(fork(work, "child"), 0)


def storm() -> None:
    """Forks 50 children while this process keeps exporting; each child records after that.

    argv: whose providers (`ours` or `user`). Prints `forked`, waits for a line on stdin, ends
    with the number of children that failed to flush.
    """
    whose = sys.argv[2]
    protocol = os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"]
    sdk.validate()
    if whose == "user":
        use_own_providers(protocol)
    sdk.ensure_providers()
    keep_busy()
    read_end, write_end = os.pipe()
    children = []
    slowest = 0.0
    for number in range(50):
        began = time.monotonic()
        pid = os.fork()
        if not pid:
            os.close(write_end)
            work_on_request(f"child-{number}", read_end)
        slowest = max(slowest, time.monotonic() - began)
        children.append(pid)
        time.sleep(0.02)
    print(f"forked, slowest {slowest * 1000:.1f} ms", flush=True)
    sys.stdin.readline()
    os.close(write_end)
    mute = sum(os.waitpid(pid, 0)[1] != 0 for pid in children)
    print("mute", mute, flush=True)
    os._exit(mute)


def keep_busy() -> None:
    """Record in the background as long as the process lives."""

    def run() -> None:
        while True:
            record("parent")
            time.sleep(0.005)

    threading.Thread(target=run, daemon=True).start()


def work_on_request(who: str, pipe: int) -> None:
    """Record after the pipe is closed; exit with 0 if it was exported, killed if that hangs."""
    faulthandler.dump_traceback_later(25, exit=True)
    os.read(pipe, 1)
    sdk.ensure_providers()
    record(who)
    os._exit(0 if sdk.flush(20) else 1)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
