"""Processes that a producer or a worker starts: what they record is exported before they end.

No timer is due in these tests. On Redis alone: an end does not depend on the broker.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.brokers.moments import DONE, REDIS, WORK, expect_work, start
from tests.brokers.telemetry_cases import CONSUMED, LATER, SENT, in_log_of_ours

if TYPE_CHECKING:
    from tests.brokers.harness import Lab

pytestmark = REDIS

CHILDREN = {
    "Process": """
    children = [context.Process(target=work) for _ in range(2)]
    for each in children: each.start()
    for each in children: each.join()
""",
    "Process, terminated": """
    queue = context.Queue()
    children = [context.Process(target=linger, args=(queue,)) for _ in range(2)]
    for each in children: each.start()
    for each in children: queue.get()
    for each in children: each.terminate()
    for each in children: each.join()
    assert {each.exitcode for each in children} == {-signal.SIGTERM}
""",
    "Pool": """
    with context.Pool(2) as pool:
        pool.map(work, range(2), chunksize=1)
""",
    "Pool, recycled": """
    with context.Pool(2, maxtasksperchild=1) as pool:
        pool.map(work, range(2), chunksize=1)
        pool.close()
        pool.join()
""",
    "ProcessPoolExecutor": """
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(work, range(2)))
""",
}
LINGER = """
def linger(queue):
    work()
    queue.put(1)
    time.sleep(60)
"""
MAIN = """
if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    work()
"""


# What is not forked imports everything anew, which takes its time.
OTHERS = [
    ("spawn", "Process"),
    ("spawn", "Process, terminated"),
    ("spawn", "Pool"),
    ("spawn", "ProcessPoolExecutor"),
    ("forkserver", "Process, terminated"),
    ("forkserver", "ProcessPoolExecutor"),
]


@pytest.mark.parametrize(("method", "kind"), [*(("fork", kind) for kind in CHILDREN), *OTHERS])
def test_children_of_multiprocessing_export_all(method: str, kind: str, own_lab: Lab) -> None:
    """Children of a producer that has sent; also those that SIGTERM ends, as a pool's are."""
    framework = "dramatiq" if kind == "Process" else "celery"
    source = "".join((WORK, LINGER, MAIN.format(method=method), CHILDREN[kind]))
    script = own_lab.script(source, app=own_lab.module(""), env={**LATER, "FRAMEWORK": framework})
    assert script.wait(timeout=60) == 0, script.tail()
    script.wait_for_log_end()
    expect_work(own_lab, 3)
    assert in_log_of_ours(script.log) == []


@pytest.mark.parametrize("end", ["sys.exit(0)", "os.kill(os.getpid(), signal.SIGTERM)"])
def test_child_of_plain_fork_exports_all(end: str, own_lab: Lab) -> None:
    """At its normal end and at SIGTERM, as any process."""
    fork = f"""
pid = os.fork()
if pid == 0:
    work()
    {end}
os.waitpid(pid, 0)
"""
    script = start(own_lab, DONE, fork)
    assert script.wait() == 0
    expect_work(own_lab, 2)


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_embedded_beat_exports_all(pool: str, own_lab: Lab) -> None:
    """`worker -B`: each tick is a send and a delivery, and counted."""
    app = own_lab.module("tests.brokers.apps.celery_flows")
    arguments = ["-B", "-s", str(own_lab.directory / "schedule")]
    worker = own_lab.celery(app, pool=pool, arguments=arguments, env=LATER)
    worker.wait_for_log(r"Task add\[.*succeeded", count=2)  # sent by a tick; then all rests
    assert worker.stop(signal.SIGTERM, timeout=60) == 0
    spans = own_lab.receiver.spans()
    sends = {span.span_id for span in spans if span.name == "send tick"}
    processed = {span.parent_id for span in spans if span.name == "process tick"}
    assert len(processed) >= 2
    assert processed <= sends
    ticks = {"taskqueue__task__name": "tick"}
    own_lab.receiver.expect_total(SENT, len(sends), timeout=30, **ticks)
    own_lab.receiver.expect_total(CONSUMED, len(processed), timeout=30, **ticks)
