"""Send a task of the app and wait for it.

How it ended is known to a result backend alone. Without one the broker tells whether a worker has
taken the message; Dramatiq's on Redis also whether it is done, or a dead letter.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace

from otel_queue_plugins.brokers.errors import BrokerError, RefusedError
from otel_queue_plugins.cli.doctor.background import Background
from otel_queue_plugins.cli.doctor.findings import Finding, broken, fine, unknown
from otel_queue_plugins.cli.queues import audit
from otel_queue_plugins.cli.queues.failures import UsageError
from otel_queue_plugins.core.settings.problems import nearest

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from otel_queue_plugins.cli.doctor.case import Case

_LOOK_S: Final = 0.1
_LEAST_S: Final = 2.0
_SURE: Final = 3
_SUCCESS: Final = "SUCCESS"
_READY: Final = "ready"
_DEAD: Final = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What became of the task, and its trace."""

    finding: Finding
    trace_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """A message that was sent. `wait` waits for its result, None where none is kept."""

    id: str
    queue: str
    wait: Callable[[float], Finding | None] | None


def task_of(case: Case) -> Any:
    """The task that `--probe` names. Raises UsageError if the app has none of that name."""
    name = case.parsed.probe
    known = dict(case.app.tasks) if case.app is not None else dict(case.broker.actors)
    if name in known:
        return known[name]
    near = nearest(name, known)
    names = ", ".join(sorted(each for each in known if not each.startswith("celery."))[:20])
    hint = f"did you mean {near}?" if near else f"there are: {names or 'none'}"
    raise UsageError(f"--probe {name}: the app has no such task; {hint}")


def run(case: Case) -> Probed:
    """Send the task in a trace of its own, and wait for it as long as there is time."""
    if case.access is None or isinstance(case.states, BrokerError):
        return Probed(finding=unknown("not sent: the broker did not answer"), trace_id=None)
    with audit.recorded("probe", case.access.source, verb="doctor") as span:
        sent = _send(case, span.context)
        finding = sent if isinstance(sent, Finding) else _ending(case, sent)
    if span.trace_id and not span.is_sent:
        finding = replace(finding, what=f"{finding.what}; its trace was not sent in time")
    elif span.trace_id:
        finding = replace(finding, what=f"{finding.what}; trace {span.trace_id}")
    return Probed(finding=finding, trace_id=span.trace_id)


def _send(case: Case, cause: SpanContext | None) -> _Sent | Finding:
    """Send it, as a child of `cause`; a finding if that fails."""
    task = task_of(case)
    send = _send_celery if case.app is not None else _send_dramatiq

    def send_in_trace() -> _Sent:
        context = trace.set_span_in_context(trace.NonRecordingSpan(cause)) if cause else None
        token = otel_context.attach(context) if context else None
        try:
            return send(case, task)
        finally:
            if token:
                otel_context.detach(token)

    try:
        return Background(send_in_trace, is_traced=True).result(_seconds(case))
    except TimeoutError:
        return broken(f"{case.parsed.probe} was not sent: no answer in time", may_pass=True)
    except Exception as error:  # noqa: BLE001 - the words are shown
        return broken(f"{case.parsed.probe} was not sent: {type(error).__name__}: {error}")


def _send_celery(case: Case, task: Any) -> _Sent:
    options = {"queue": task.queue} if getattr(task, "queue", None) else {}
    queue = case.app.amqp.router.route(options, task.name).get("queue")
    result = task.apply_async()
    has_result = bool(case.app.conf.result_backend) and not task.ignore_result

    def wait(seconds: float) -> Finding | None:
        result.get(timeout=seconds, propagate=False)
        if result.state == _SUCCESS:
            return fine(f"{task.name} has run and succeeded")
        why = f": {type(result.result).__name__}" if result.result is not None else ""
        return broken(f"{task.name} has ended with {result.state}{why}")

    return _Sent(
        id=str(result.id),
        queue=str(getattr(queue, "name", queue)),
        wait=wait if has_result else None,
    )


def _send_dramatiq(case: Case, actor: Any) -> _Sent:
    message = actor.send()
    named = (each for each in case.broker.middleware if type(each).__name__ == "Results")
    results = next(named, None)
    is_stored = results is not None and actor.options.get(
        "store_results", getattr(results, "store_results", False)
    )

    def wait(seconds: float) -> Finding | None:
        try:
            message.get_result(block=True, timeout=int(seconds * 1000))
        except Exception as error:
            if type(error).__name__ != "ResultFailure":
                raise
            kind = getattr(error, "orig_exc_type", "") or "an exception"
            return broken(f"{actor.actor_name} has failed: {kind}")
        return fine(f"{actor.actor_name} has run and succeeded")

    return _Sent(id=message.message_id, queue=message.queue_name, wait=wait if is_stored else None)


def _ending(case: Case, sent: _Sent) -> Finding:
    if sent.wait is not None:
        waiting = Background(partial(sent.wait, _seconds(case)))
        with suppress(Exception):  # too late, or the result backend is not there
            if found := waiting.result(_seconds(case) + _LOOK_S):
                return found
    try:
        return _whereabouts(case, sent)
    except BrokerError as error:
        return unknown(f"{case.parsed.probe} was sent; where it is is not known: {error}")


def _whereabouts(case: Case, sent: _Sent) -> Finding:
    """Where the message is, as soon as a worker is done with it, or there is no time left."""
    looked_after, until = 0, time.monotonic() + case.seconds_left
    while True:
        place = _place(case, sent)
        looked_after += place is None
        # RabbitMQ may count the message a moment after it was sent.
        if looked_after >= _SURE or time.monotonic() >= until or place == _DEAD:
            return _finding(case, sent, place)
        time.sleep(_LOOK_S)


def _place(case: Case, sent: _Sent) -> str | None:
    """The state that the message is in, None if a worker has taken it for good."""
    access = case.access
    if access is None:
        return None
    try:
        found = access.look(lambda reader: reader.find(sent.id, queues=[sent.queue], limit=1))
        if found.messages:
            return str(found.messages[0].state)
        if not found.unseen:
            return None
    except RefusedError:
        pass
    # A look at single messages would disturb others, so their number has to do.
    (state,) = access.look(lambda reader: reader.states([sent.queue]))
    return _READY if state.ready is None or state.ready else None


def _finding(case: Case, sent: _Sent, place: str | None) -> Finding:
    name, seconds = case.parsed.probe, case.parsed.timeout
    if place == _DEAD:
        return broken(f"{name} has failed, and is a dead letter of {sent.queue}")
    if place is None:
        how = "" if sent.wait else "; whether it succeeded, its trace says (no result is kept)"
        return fine(f"{name}: a worker has taken it from {sent.queue}{how}")
    if place == _READY:
        return broken(
            f"{name} waits in {sent.queue} and no worker has taken it within {seconds:g} s",
            "start a worker for this queue, or wait longer with --timeout",
        )
    return unknown(f"{name} is {place} in {sent.queue} after {seconds:g} s", "--timeout 30s")


def _seconds(case: Case) -> float:
    return max(_LEAST_S, case.seconds_left)
