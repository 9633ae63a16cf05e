"""A queue of its own, worked off by forked children and by threads, with one tracer for all."""

from __future__ import annotations

import multiprocessing
import threading
from contextlib import suppress
from typing import Any

from otel_queue_plugins import QueueTracer, trace_operation

MESSAGES, WORKERS = 6, 3


def work(queue: QueueTracer, who: str) -> None:
    """Send some messages and process them; every second one fails."""
    for number, message in enumerate(send(queue, who)):
        with (
            suppress(ValueError),
            queue.process(task="resize", destination="images", attempt=1, **message),
        ):
            with trace_operation("load", attributes={"who": who}):
                pass
            if number % 2:
                raise ValueError(who)


def send(queue: QueueTracer, who: str) -> list[dict[str, Any]]:
    """Send some messages, and return what `process` needs of each."""
    sent = []
    for number in range(MESSAGES):
        message_id = f"{who}-{number}"
        with queue.send(task="resize", destination="images", message_id=message_id) as sending:
            sent.append({"message_id": message_id, "headers": dict(sending.headers)})
    return sent


def main() -> None:
    """Before the fork, in children, in threads, and after all of it."""
    queue = QueueTracer("myqueue", system="redis")
    work(queue, "parent")
    forking = multiprocessing.get_context("fork")
    children: list[Any] = [
        forking.Process(target=work, args=(queue, f"child{number}")) for number in range(WORKERS)
    ]
    threads = [
        threading.Thread(target=work, args=(queue, f"thread{number}")) for number in range(WORKERS)
    ]
    for each in (*children, *threads):
        each.start()
    for each in (*children, *threads):
        each.join()
    work(queue, "end")


if __name__ == "__main__":
    main()
