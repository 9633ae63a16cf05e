"""The steps of chains.

Celery has the steps that follow in each message, and does not count those before. So the envelope
carries the number of the step. A group with more steps after it is one step: Celery makes a chord
of it, whose members carry the number, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from otel_queue_plugins.celery import translation
from otel_queue_plugins.core.messages import Joined, Workflow
from otel_queue_plugins.core.operation import ProcessOperation


class Step(NamedTuple):
    """A step of a chain; `continues` is True if `delivery` is the step before, or is replaced."""

    workflow: Workflow
    continues: bool = True


def find_step(
    facts: Mapping[str, Any],
    body: Any,
    options: Mapping[str, Any],
    delivery: ProcessOperation | None,
    *,
    continues: bool,
    joins: Joined | None,
) -> Step | None:
    """Return the step of a chain that a message is, or its group; None outside of a chain.

    `continues` is True if Celery sends the message because `delivery` ended. The id of the chain is
    left out if the receiver finds it in Celery's own headers.
    """
    chain = options.get("chain")
    current = _step_of(delivery)
    if joins:
        # The first step of a chain may be a group, whose members do not know the chain.
        has_step = current is not None or isinstance(chain, list) or options.get("chord")
        return _step((current or 0) + 1) if has_step else None
    replaces = facts.get("replaced_task_nesting")
    continues = continues or facts.get("task") == translation.UNLOCK_CHORD
    if current is not None and (continues or replaces):
        identity = _chain_of(facts, body, options)
        if identity is not None and identity == _chain_in_progress(delivery):
            hidden = chain is None and replaces
            return _step(current + 1 if continues else current, identity if hidden else "")
    return _step(0)._replace(continues=False) if isinstance(chain, list) else None


def _step(number: int, identity: str = "") -> Step:
    return Step(Workflow(kind="chain", id=identity, step=number))


def _step_of(delivery: ProcessOperation | None) -> int | None:
    envelope = delivery.incoming.envelope if delivery else None
    workflow = envelope.workflow if envelope else None
    return workflow.step if workflow and workflow.kind == "chain" else None


def _chain_in_progress(delivery: ProcessOperation | None) -> str | None:
    workflow = delivery.delivery.workflow if delivery else None
    return workflow.id if workflow and workflow.kind == "chain" else None


def _chain_of(facts: Mapping[str, Any], body: Any, options: Mapping[str, Any]) -> str | None:
    """Return the id of the chain that a message is in, if it is in one."""
    chain = options.get("chain")
    if isinstance(chain, list):
        return translation.chain_id(chain, facts.get("id"))
    after = options.get("chord") or _body_of_unlock(facts, body)
    if after:
        rest = translation.options_of(after).get("chain")
        return translation.final_id(rest[0] if isinstance(rest, list) and rest else after)
    return translation.identity(facts.get("group") or facts.get("id"))


def arguments(body: Any) -> Any:
    """Return the positional arguments in the body of a message of either protocol."""
    if isinstance(body, Mapping):
        return body.get("args")
    return first(body)


def first(values: Any) -> Any:
    """Return the first of `values`; None if they are empty, or no sequence."""
    return values[0] if isinstance(values, (list, tuple)) and values else None


def _body_of_unlock(facts: Mapping[str, Any], body: Any) -> Any:
    """Return the body of the chord that a `chord_unlock` message is for."""
    if facts.get("task") != translation.UNLOCK_CHORD:
        return None
    args = arguments(body)
    return args[1] if isinstance(args, (list, tuple)) and len(args) > 1 else None
