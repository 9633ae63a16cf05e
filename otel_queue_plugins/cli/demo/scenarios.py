"""What the shop does in the demo, and what must arrive because of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scenario:
    """One request and the work it causes. `deliveries` count by task and outcome."""

    title: str
    request: str
    sends: Mapping[str, int]
    deliveries: Mapping[tuple[str, str], int]

    def spans(self) -> Counter[str]:
        """Every span of the scenario by `name` or `name: outcome`."""
        expected = Counter({self.request: 1})
        expected.update({f"send {task}": number for task, number in self.sends.items()})
        expected.update(
            {f"process {task}: {how}": number for (task, how), number in self.deliveries.items()}
        )
        return expected


def scenarios(framework: str, *, joins_groups: bool = True) -> tuple[Scenario, ...]:
    """The scenarios that the shop on `framework` plays, in the order of its requests."""
    if framework == "celery":
        return (*_common(final="failure"), _ORDER_WITH_CHORD)
    return (
        *_common(final="dead_letter"),
        _ORDER_AS_PIPELINE,
        _group(joined=joins_groups),
    )


def _common(final: str) -> tuple[Scenario, ...]:
    end = "ends as a dead letter" if final == "dead_letter" else "is given up"
    return (
        Scenario(
            title="A task that succeeds",
            request="POST /receipts",
            sends={"send_receipt": 1},
            deliveries={("send_receipt", "success"): 1},
        ),
        Scenario(
            title="Fails, is retried, succeeds",
            request="POST /payments",
            sends={"charge_card": 1},
            deliveries={("charge_card", "retry"): 1, ("charge_card", "success"): 1},
        ),
        Scenario(
            title=f"Fails twice, {end}",
            request="POST /labels",
            sends={"print_label": 1},
            deliveries={("print_label", "retry"): 1, ("print_label", final): 1},
        ),
        Scenario(
            title="Delayed by one second",
            request="POST /reminders",
            sends={"send_reminder": 1},
            deliveries={("send_reminder", "success"): 1},
        ),
    )


_ORDER_WITH_CHORD: Final = Scenario(
    title="A chain: one, then three, then one",
    request="POST /orders",
    sends={"reserve": 1, "pack": 3, "ship": 1},
    deliveries={("reserve", "success"): 1, ("pack", "success"): 3, ("ship", "success"): 1},
)

_ORDER_AS_PIPELINE: Final = Scenario(
    title="A pipeline of three",
    request="POST /orders",
    sends={"reserve": 1, "pick": 1, "ship": 1},
    deliveries={("reserve", "success"): 1, ("pick", "success"): 1, ("ship", "success"): 1},
)


def _group(*, joined: bool) -> Scenario:
    end = {"ship": 1} if joined else {}
    return Scenario(
        title="A group of three, then one" if joined else "A group of three",
        request="POST /parcels",
        sends={"pack": 3, **end},
        deliveries={(task, "success"): number for task, number in {"pack": 3, **end}.items()},
    )
