"""RQ on a Redis in memory, traced by the example adapter."""

from __future__ import annotations

import importlib.util
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fakeredis
import rq

from otel_queue_plugins import QueueTracer
from tests.contract.drivers import run_word

if TYPE_CHECKING:
    from collections.abc import Callable

_PATH = Path(__file__).parents[2] / "example_projects" / "own_queue" / "rq_adapter.py"


def resize(plan: list[str]) -> None:
    """What the job runs."""
    job = rq.get_current_job()
    assert job is not None
    run_word(plan[job.meta["otel"]["attempt"] - 1])


class RQQueue:
    """A queue of RQ."""

    name, system = "rq", "redis"
    task = "tests.contract.rq_driver.resize"
    words = frozenset({"ok", "retry", "fail"})

    def __init__(self, **options: Any) -> None:
        spec = importlib.util.spec_from_file_location("rq_adapter", _PATH)
        assert spec is not None
        assert spec.loader is not None
        adapter: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(adapter)
        redis = fakeredis.FakeStrictRedis()
        tracer = QueueTracer(self.name, system=self.system, **options)
        self.queue = adapter.TracedQueue("images", connection=redis)
        self.worker = adapter.TracedWorker([self.queue], connection=redis)
        self.queue.tracer = self.worker.tracer = tracer
        self.job: Any = None

    def send(self, *plan: str, relation: str | None = None) -> str:
        del relation
        again = plan.count("retry")
        retry = rq.Retry(max=again) if again else None
        self.job = self.queue.enqueue(resize, list(plan), retry=retry)
        return str(self.job.id)

    def carrier(self) -> dict[str, Any]:
        return self.job.meta["otel"]["headers"]

    def spoil(self, values: dict[str, Any]) -> None:
        self.carrier().update(values)
        self.job.save_meta()

    def work(self, is_done: Callable[[], bool]) -> None:
        before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.worker.work(burst=True, logging_level="ERROR")
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        assert is_done()

    def close(self) -> None:
        pass
