"""What is examined: the environment, the app or broker, and what they answer."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final, TypeVar

from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.brokers.facts import QueueState
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.cli.doctor import asking, exports
from otel_queue_plugins.cli.doctor.asking import Answers
from otel_queue_plugins.cli.doctor.background import Background
from otel_queue_plugins.cli.doctor.exports import TestExport
from otel_queue_plugins.cli.queues.access import Access
from otel_queue_plugins.core import options
from otel_queue_plugins.core.settings import definitions
from otel_queue_plugins.core.settings.problems import Problem, merged
from otel_queue_plugins.core.settings.variables import Variables
from otel_queue_plugins.sdk import global_providers
from otel_queue_plugins.sdk.config import plan as plans
from otel_queue_plugins.sdk.config import propagators
from otel_queue_plugins.sdk.config.reader import SIGNALS, Environment
from otel_queue_plugins.sdk.config.targets import Target

T = TypeVar("T")

_ENDING_S: Final = 1.5
_HAS_WORKERS: Final = ("redis", "rabbitmq")


class Case:
    """One set-up. `app` is a Celery app and `broker` a Dramatiq broker, None if not given.

    `access` is None if no queues are named, or nothing may be connected to. All answers together
    are waited for until `parsed.timeout` has passed.
    """

    def __init__(
        self, parsed: Namespace, *, app: Any = None, broker: Any = None, access: Access | None
    ) -> None:
        self.parsed = parsed
        self.app = app
        self.broker = broker
        self.access = access
        self._until: float = time.monotonic() + parsed.timeout
        self.environ: Mapping[str, str] = os.environ
        self.plan = plans.read(os.environ)
        self.problems = merged((*self.plan.problems, *_problems_of_options()))
        propagators.guard(os.environ)
        if self.plan.declared is not None:
            from otel_queue_plugins.sdk.providers import declared

            declared.use_propagator()
        self._exports: dict[str, Background[TestExport]] = {}
        if not self.is_offline:
            self._start_exports()

    @property
    def is_offline(self) -> bool:
        """Whether nothing may be connected to."""
        return bool(self.parsed.offline)

    @property
    def has_target(self) -> bool:
        """Whether an app, a broker or a URL is named."""
        return bool(self.parsed.app or self.parsed.broker or self.parsed.url)

    @property
    def seconds_left(self) -> float:
        """The time in which an answer is of use."""
        return max(0.0, self._until - time.monotonic())

    def value(self, *names: str) -> str:
        """The first value among the variables `names`, "" if there is none."""
        return Environment(self.environ).value(*names)

    def is_of_application(self, signal: str) -> bool:
        """Whether the application has set a provider for `signal`: its exporters are its own."""
        return global_providers.has_provider(signal) and not global_providers.is_own(signal)

    def targets(self) -> list[Target]:
        """Where this package would send, one for each signal that is sent over OTLP."""
        return [
            each
            for signal in SIGNALS
            if not self.is_of_application(signal)
            for each in self.plan.exporters.get(signal, ())
            if isinstance(each, Target)
        ]

    def export(self, signal: str) -> TestExport | None:
        """What the backend said to the test data of `signal`; None if it was not asked."""
        waiting = self._exports.get(signal)
        if waiting is None:
            return None
        try:
            return waiting.result(self.seconds_left + _ENDING_S)
        except TimeoutError:
            return exports.without_answer(signal, self.parsed.timeout)

    def is_taken(self, signal: str) -> bool:
        """Whether the backend has taken the test data of `signal`."""
        found = self.export(signal)
        return found is not None and found.ok

    @cached_property
    def states(self) -> dict[str, QueueState] | BrokerError:
        """The queues by name, those of the app and those found on the broker; or why not."""
        try:
            names = list(self.names)
            return self._look(lambda reader: {e.name: e for e in reader.states(names)})
        except BrokerError as error:
            return error

    @cached_property
    def names(self) -> dict[str, str]:
        """The names of the queues, each with where it comes from. Raises BrokerError."""
        named = list(self.parsed.queues)
        if named:
            return dict.fromkeys(named, "named")
        return self._look(lambda reader: reader.names(search=True))

    @cached_property
    def _asked(self) -> Background[Answers] | None:
        can_answer = self.app is not None and self.access is not None
        if not can_answer or isinstance(self.states, BrokerError):
            return None
        if self.access is None or self.access.source.system not in _HAS_WORKERS:
            return None
        return Background(lambda: asking.ask(self.app, self.seconds_left))

    def ask_workers(self) -> None:
        """Begin to ask the workers, if there is a way to; the answers are waited for later."""
        if self.access is not None:
            _ = self._asked

    @cached_property
    def workers(self) -> Answers | None:
        """What Celery's workers have answered; None if there was no way to ask them."""
        if self.access is None or self._asked is None:
            return None
        try:
            return self._asked.result(self.seconds_left + _ENDING_S)
        except Exception:  # noqa: BLE001 - whatever it is, nobody has answered
            return Answers({}, {})

    def _look(self, ask: Callable[[QueueReader], T]) -> T:
        if self.access is None:
            raise BrokerError("no queues are named")
        return self.access.look(ask)

    def _start_exports(self) -> None:
        failures = exports.keep_failures()
        for target in self.targets():
            self._exports[target.signal] = exports.started(target, failures, self.seconds_left)


def _problems_of_options() -> list[Problem]:
    """Values that the options of `instrument` cannot have. The plan has the other variables."""
    variables = Variables(os.environ)
    for setting in options.SETTINGS.values():
        definitions.read(variables, setting)
    return variables.problems
