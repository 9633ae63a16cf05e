"""The broker and its queues. Looks at numbers; takes and declares nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.cli.doctor.findings import Finding, broken, fine, unknown

if TYPE_CHECKING:
    from otel_queue_plugins.brokers.facts import QueueState
    from otel_queue_plugins.cli.doctor.case import Case

_OF_APP: Final = ("configured", "declared", "named")
NO_ANSWER: Final = "the broker did not answer"
_WORKER: Final = {"celery": "celery -A APP worker -Q {}", "dramatiq": "dramatiq MODULE -Q {}"}


def broker(case: Case) -> Iterator[Finding]:
    """It answers."""
    if case.is_offline and case.has_target:
        yield unknown("not asked: --offline")
    if case.access is None:
        return
    if isinstance(case.states, BrokerError):
        fix = "is the broker up, and the URL right?"
        yield broken(str(case.states).rstrip("."), fix, may_pass=True)
        return
    yield fine(f"{case.access.source.url} answers")


def queues(case: Case) -> Iterator[Finding]:
    """Those of the app exist and have consumers, and no other has messages and no consumer."""
    if case.access is None:
        return
    if isinstance(case.states, BrokerError):
        yield unknown(NO_ANSWER)
        return
    if not case.states:
        yield unknown("this broker does not list its queues", "--queue NAME")
    for name, state in case.states.items():
        if case.names.get(name) in _OF_APP:
            yield _of_app(case, state)
        elif state.ready and _consumers(case, state) == 0:
            waiting = f"{name}: {state.ready:,} messages wait and nobody consumes them"
            yield unknown(f"{waiting}; it is no queue of this app", _worker(case, name))


def _of_app(case: Case, state: QueueState) -> Finding:
    consumers, waiting = _consumers(case, state), _waiting(state)
    if consumers:
        return fine(f"{state.name}: {_counted(consumers, 'consumer')}{waiting}")
    if consumers == 0:
        return broken(f"{state.name}: no consumer{waiting}", _worker(case, state.name))
    why = state.unknown.get("consumers", "not known")
    if case.access and case.access.source.system == "rabbitmq" and state.ready is None:
        return broken(f"{state.name}: {why}, so no worker consumes it", _worker(case, state.name))
    return unknown(f"{state.name}: whether it has consumers is not known: {why}{waiting}")


def _consumers(case: Case, state: QueueState) -> int | None:
    """As the broker says; else as many workers as have answered that they consume it."""
    if state.consumers is not None:
        return state.consumers
    answers = case.workers
    if answers is None or not answers.queues:
        return None
    return sum(state.name in consumed for consumed in answers.queues.values())


def _worker(case: Case, queue: str) -> str:
    framework = case.access.source.framework if case.access else "celery"
    named = case.parsed.app or case.parsed.broker
    line = _WORKER[framework].format(queue)
    return line.replace("APP", named).replace("MODULE", named) if named else line


def _waiting(state: QueueState) -> str:
    return f", {_counted(state.ready, 'message')} waiting" if state.ready else ""


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
