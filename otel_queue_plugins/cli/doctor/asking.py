"""Ask all workers of a Celery app, as `celery inspect` does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from otel_queue_plugins.cli.doctor.background import Background
from otel_queue_plugins.cli.workers.asking import of_celery

_ANSWER_S: Final = 1.0
_CONNECT_S: Final = 2.0


class Answers(NamedTuple):
    """The answers by the name of the worker.

    `stats` is the object of `/stats`; without `versions` if a worker does not run this package.
    `queues` has the names of the queues that each worker consumes.
    """

    stats: Mapping[str, Mapping[str, Any]]
    queues: Mapping[str, list[str]]


def ask(app: Any, seconds: float) -> Answers:
    """What the workers of `app` answer within a second, or less if there are fewer left.

    A worker's answer comes into a queue that the broker deletes with the connection.
    """
    wait = min(_ANSWER_S, seconds)
    queues = Background(lambda: _replies(app, "active_queues", wait))
    stats = of_celery(app, seconds)
    consumed = queues.result(wait + _CONNECT_S)
    return Answers(
        {str(each["worker"]): each for each in stats},
        {
            name: [str(each.get("name")) for each in answer]
            for name, answer in consumed.items()
            if isinstance(answer, list)
        },
    )


def _replies(app: Any, command: str, seconds: float) -> dict[str, Any]:
    with app.connection_for_write(connect_timeout=_CONNECT_S) as connection:
        replies = app.control.broadcast(command, reply=True, timeout=seconds, connection=connection)
    return {name: answer for each in replies or () for name, answer in each.items()}
