"""However a producer's process ends, what it has recorded is exported first, within the bound.

No timer is due in these tests. Mostly on Redis: an end does not depend on the broker.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.brokers.moments import (
    BOTH_FRAMEWORKS,
    DEFAULT,
    DONE,
    REDIS,
    WORK,
    expect_work,
    start,
)
from tests.brokers.telemetry_cases import LATER, SENT, in_log_of_ours
from tests.receiver import Fault

if TYPE_CHECKING:
    from tests.brokers.harness import Lab

SLEEP = "time.sleep(60)\n"
# A main thread that waits for another is interrupted like one that sleeps.
THREADED = """
other = threading.Thread(target=lambda: (work(), say("done"), time.sleep(60)), daemon=True)
other.start()
other.join()
"""
LOOP = """
async def main():
    work()
    say("done")
    await asyncio.sleep(60)

asyncio.run(main())
"""


@BOTH_FRAMEWORKS
def test_sigterm_in_sleep_exports_all_and_ends_process_by_signal(
    framework: str, own_lab: Lab
) -> None:
    """The process dies of the signal, as it would without us."""
    script = start(own_lab, DONE, SLEEP, framework=framework)
    assert script.stop(signal.SIGTERM) == DEFAULT
    expect_work(own_lab)
    assert in_log_of_ours(script.log) == []


@REDIS
@pytest.mark.parametrize("main", [THREADED, LOOP], ids=["a thread works", "an event loop"])
def test_sigterm_in_any_wait_exports_all(main: str, own_lab: Lab) -> None:
    """It does not matter what the main thread waits in."""
    script = start(own_lab, main)
    assert script.stop(signal.SIGTERM) == DEFAULT
    expect_work(own_lab)


@REDIS
def test_sigterm_in_management_command_exports_all(own_lab: Lab) -> None:
    """A Django command that waits for long."""
    pytest.importorskip("django")
    env = {
        **LATER,
        "FRAMEWORK": "dramatiq",
        "DJANGO_SETTINGS_MODULE": "tests.brokers.apps.django_shop.settings",
    }
    command = own_lab.processes.python(
        "-m", "django", "send_orders", "--stay", env=own_lab.env("x", own_lab.module(""), env)
    )
    command.wait_for_log("orders are sent")
    assert command.stop(signal.SIGTERM) == DEFAULT
    root = own_lab.receiver.expect_span("send_orders", timeout=30)
    own_lab.receiver.expect_trace(root.trace_id, 4, timeout=30)
    own_lab.receiver.expect_total(SENT, 3, timeout=30)


@REDIS
@pytest.mark.parametrize("record", ["", "work()\n"], ids=["nothing recorded", "recorded"])
def test_sigterm_with_nothing_to_export_or_fast_collector_ends_process_at_once(
    record: str, own_lab: Lab
) -> None:
    """The bound is not waited for."""
    script = start(own_lab, record, 'say("done")\n', SLEEP, OTEL_QUEUE_FLUSH_TIMEOUT="59")
    began = time.monotonic()
    assert script.stop(signal.SIGTERM) == DEFAULT
    assert time.monotonic() - began < 30
    assert bool(own_lab.receiver.requests()) is bool(record)


@REDIS
def test_sigterm_with_hanging_collector_ends_process_within_bound(own_lab: Lab) -> None:
    """OTEL_QUEUE_FLUSH_TIMEOUT bounds all signals together; the process dies of the same signal.

    Without the bound an exporter goes on for 90 s.
    """
    bounds = {"OTEL_QUEUE_FLUSH_TIMEOUT": "1", "OTEL_EXPORTER_OTLP_TIMEOUT": "90"}
    script = start(own_lab, DONE, SLEEP, **bounds)
    own_lab.receiver.fault = Fault.HANG
    began = time.monotonic()
    assert script.stop(signal.SIGTERM) == DEFAULT
    assert time.monotonic() - began < 1 + 29


@REDIS
@pytest.mark.parametrize("framework", ["celery", "dramatiq"])
def test_sigterm_in_a_send_exports_it_too(framework: str, own_lab: Lab) -> None:
    """The broker has its message. A main thread that sends is where a signal finds beat."""
    interrupted = """
import redis
sent = redis.connection.AbstractConnection.send_packed_command
def send_and_die(*args, **options):
    sent(*args, **options)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0)
redis.connection.AbstractConnection.send_packed_command = send_and_die
send()
time.sleep(60)
"""
    extra = {**LATER, "FRAMEWORK": framework}
    source = WORK + DONE + interrupted
    script = own_lab.script(source, app=own_lab.module(""), env=extra)
    assert script.wait() == DEFAULT
    names = sorted(span.name for span in own_lab.receiver.spans())
    assert names == ["job", "send work", "send work"]
    own_lab.receiver.expect_total(SENT, 2)


@REDIS
def test_second_sigterm_does_not_interrupt_flush(own_lab: Lab) -> None:
    """A supervisor may signal the group and then the process; one bound holds for both."""
    script = start(own_lab, DONE, SLEEP, OTEL_QUEUE_FLUSH_TIMEOUT="20")
    own_lab.receiver.fault = Fault.HANG
    script.send_signal(signal.SIGTERM)
    own_lab.receiver.until(lambda: len(own_lab.receiver.requests()) >= 2, "flush")
    script.send_signal(signal.SIGTERM)
    own_lab.receiver.fault = Fault.OK
    assert script.wait() == DEFAULT
    expect_work(own_lab)


HANDLER = """
def handler(number, _):
    say("handled")
    stopped.set()

stopped = threading.Event()
"""
SIGNAL = "signal.signal(signal.SIGTERM, handler)\n"
WAIT = """
while not stopped.wait(0.05):
    pass
assert signal.getsignal(signal.SIGTERM) is handler
"""
IN_LOOP = """
async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGTERM, lambda: (say("handled"), stop.set())
    )
    work()
    say("done")
    await stop.wait()

asyncio.run(main())
"""


@REDIS
@pytest.mark.parametrize(
    "parts",
    [
        pytest.param((HANDLER, SIGNAL, DONE, WAIT), id="set after instrument"),
        pytest.param((HANDLER, DONE, SIGNAL, 'say("set")\n', WAIT), id="set after recording"),
        pytest.param((IN_LOOP,), id="of an event loop"),
    ],
)
def test_handler_of_application_is_called_at_once(parts: tuple[str, ...], own_lab: Lab) -> None:
    """The state of the collector does not matter, and the handler decides what happens."""
    script = start(own_lab, *parts, OTEL_QUEUE_FLUSH_TIMEOUT="20")
    if 'say("set")\n' in parts:
        script.wait_for_log("^set$")
    own_lab.receiver.fault = Fault.HANG
    script.send_signal(signal.SIGTERM)
    script.wait_for_log("^handled$", timeout=30)
    own_lab.receiver.fault = Fault.OK
    assert script.wait() == 0
    expect_work(own_lab)


@REDIS
def test_handler_set_before_instrument_stays(own_lab: Lab) -> None:
    """It is not replaced."""
    before = "import signal, threading\ndef say(words): print(words, flush=True)\n"
    source = f"{before}{HANDLER}{SIGNAL}{WORK}{DONE}{WAIT}"
    script = own_lab.script(source, app=own_lab.module(""), env={**LATER, "FRAMEWORK": "dramatiq"})
    script.wait_for_log("^done$")
    script.send_signal(signal.SIGTERM)
    script.wait_for_log("^handled$", timeout=30)
    assert script.wait() == 0
    expect_work(own_lab)


@REDIS
@pytest.mark.parametrize(
    ("back", "ends"),
    [
        pytest.param("signal.signal(signal.SIGTERM, signal.SIG_DFL)\n", True, id="default"),
        pytest.param("signal.signal(signal.SIGTERM, before)\n", True, id="the handler before"),
        pytest.param("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n", False, id="ignored"),
    ],
)
def test_last_signal_setting_of_application_holds(back: str, ends: bool, own_lab: Lab) -> None:
    """The default, as uvicorn restores it, means a flush and death; ignored means ignored."""
    taken = (
        "before = signal.signal(signal.SIGTERM, lambda *_: None)\nassert before is signal.SIG_DFL\n"
    )
    rest = 'os.kill(os.getpid(), signal.SIGTERM)\nsay("alive")\n'
    script = start(own_lab, taken, DONE, back, rest)
    assert script.wait() == (DEFAULT if ends else 0)
    assert ("alive" in script.log) is not ends
    expect_work(own_lab)


@REDIS
def test_started_program_has_default_action(own_lab: Lab) -> None:
    """What this process does at SIGTERM is not inherited by programs that it starts."""
    run = """
import subprocess
program = "import time; print('up', flush=True); time.sleep(60)"
other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
other.stdout.readline()
other.terminate()
say(f"returned {other.wait()}")
"""
    script = start(own_lab, DONE, run)
    assert script.wait() == 0
    assert f"returned {DEFAULT}" in script.log
