"""The workers of the app, asked as `otel-queue workers` asks them."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from otel_queue_plugins.brokers.errors import BrokerError
from otel_queue_plugins.cli.workers import asking, command
from otel_queue_plugins.cli.workers.asking import Stats
from otel_queue_plugins.core.settings.kinds import HostPort

_NO_WAY: Final = "Dramatiq's workers answer over HTTP: --http [HOST:]PORT, of their OTEL_QUEUE_HTTP"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundWorkers:
    """The workers that have answered, and why others have not."""

    stats: tuple[Stats, ...]
    problems: tuple[str, ...]


class Workers:
    """Those of a Celery app, and those at the addresses that the command line names."""

    def __init__(self, parsed: Namespace, framework: str) -> None:
        self._app: Any = command.app_of(parsed) if framework == "celery" else None
        self._addresses: list[HostPort] = parsed.http
        self._timeout: float = parsed.timeout

    def ask(self) -> FoundWorkers:
        """Ask all of them. Does not raise."""
        stats: list[Stats] = []
        problems: list[str] = []

        def take(ask: Callable[[Any, float], list[Stats]], whom: Any) -> None:
            try:
                stats.extend(ask(whom, self._timeout))
            except BrokerError as error:
                problems.append(str(error))

        if self._app is not None:
            take(asking.of_celery, self._app)
        for address in self._addresses:
            take(asking.of_addresses, [address])
        if self._app is None and not self._addresses:
            problems.append(_NO_WAY)
        return FoundWorkers(stats=tuple(stats), problems=tuple(problems))
