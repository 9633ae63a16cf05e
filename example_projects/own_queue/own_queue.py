"""A Redis list as a queue: `python own_queue.py send`, `python own_queue.py work`."""

import json
import os
import sys

import redis

from otel_queue_plugins import QueueTracer, trace_operation, trace_task

QUEUE = "images"
MAX_ATTEMPTS = 3
client = redis.Redis.from_url(os.environ.get("BROKER_URL", "redis://localhost:6379/0"))
queue = QueueTracer("own_queue", system="redis")


@trace_task
def resize(path, attempt):
    with trace_operation("read the image", attributes={"image.path": path}):
        if path == "broken.png" or (path == "busy.png" and attempt == 1):
            raise OSError(f"{path} cannot be read")


def push(message, to=QUEUE):
    client.lpush(to, json.dumps(message))


def send(path):
    with queue.send(task="resize", destination=QUEUE) as sending:
        push({"id": sending.message_id, "path": path, "attempt": 1, "headers": sending.headers})


def run(message):
    with queue.process(
        task="resize",
        destination=QUEUE,
        message_id=message["id"],
        headers=message["headers"],
        attempt=message["attempt"],
        max_attempts=MAX_ATTEMPTS,
    ) as delivery:
        try:
            resize(message["path"], message["attempt"])
        except OSError:
            if message["attempt"] < MAX_ATTEMPTS:
                headers = delivery.retry(reason="the image cannot be read")
                push(message | {"attempt": message["attempt"] + 1, "headers": headers})
            else:
                delivery.dead_letter(queue=f"{QUEUE}.dead", reason="no more attempts")
                push(message, to=f"{QUEUE}.dead")


if __name__ == "__main__":
    if sys.argv[1:] == ["send"]:
        for each in ("cat.png", "busy.png", "broken.png"):
            send(each)
    else:
        while found := client.brpop([QUEUE], timeout=2):
            run(json.loads(found[1]))
