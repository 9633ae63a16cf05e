"""Steps of chains. Celery keeps the list of those to come, and no count of those that were.

So the count travels with the messages of a chain, also with those in between that are shown as
members of a group: a group with more steps after it is one step, a chord of Celery's making.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from otel_queue_plugins.celery import translation
from otel_queue_plugins.core.messages import Joined, Workflow
from otel_queue_plugins.core.operation import ProcessOperation

UNLOCK_CHORD: Final = "celery.chord_unlock"


def of_message(
    facts: Mapping[str, Any],
    body: Any,
    options: Mapping[str, Any],
    delivery: ProcessOperation | None,
    *,
    sent_on: bool,
    joins: Joined | None,
) -> Workflow | None:
    """The step of a chain that a message is, or that the group is which it belongs to.

    `sent_on` says that Celery sends it because `delivery` ended. The id of the chain is left out
    where the receiver will know it.
    """
    chain = options.get("chain")
    before = _step_of(delivery)
    if joins:
        # The first step of a chain may be a group, whose members know nothing of the chain.
        goes_on = before is not None or isinstance(chain, list) or options.get("chord")
        return _step((before or 0) + 1) if goes_on else None
    replaces = facts.get("replaced_task_nesting")
    if before is not None and (sent_on or replaces):
        identity = _chain_of(facts, body, options)
        if identity is not None and identity == _chain_in_progress(delivery):
            hidden = chain is None and replaces
            return _step(before + 1 if sent_on else before, identity if hidden else "")
    return _step(0) if isinstance(chain, list) else None


def _step(number: int, identity: str = "") -> Workflow:
    return Workflow(kind="chain", id=identity, step=number)


def _step_of(delivery: ProcessOperation | None) -> int | None:
    told = delivery.incoming.envelope if delivery else None
    known = told.workflow if told else None
    return known.step if known and known.kind == "chain" else None


def _chain_in_progress(delivery: ProcessOperation | None) -> str | None:
    known = delivery.delivery.workflow if delivery else None
    return known.id if known and known.kind == "chain" else None


def _chain_of(facts: Mapping[str, Any], body: Any, options: Mapping[str, Any]) -> str | None:
    """What the chain is known by that a message would be of, if it is of one."""
    chain = options.get("chain")
    if isinstance(chain, list):
        return translation.chain_id(chain, facts.get("id"))
    after = options.get("chord") or _body_of_unlock(facts, body)
    if after:
        ahead = translation.options_of(after).get("chain")
        return translation.final_id(ahead[0] if isinstance(ahead, list) and ahead else after)
    return translation.identity(facts.get("group") or facts.get("id"))


def arguments(body: Any) -> Any:
    """The positional arguments in the body of a message of either protocol."""
    if isinstance(body, Mapping):
        return body.get("args")
    return first(body)


def first(values: Any) -> Any:
    """The first of `values`; None if there is none, or they are no sequence."""
    return values[0] if isinstance(values, (list, tuple)) and values else None


def _body_of_unlock(facts: Mapping[str, Any], body: Any) -> Any:
    if facts.get("task") != UNLOCK_CHORD:
        return None
    args = arguments(body)
    return args[1] if isinstance(args, (list, tuple)) and len(args) > 1 else None
