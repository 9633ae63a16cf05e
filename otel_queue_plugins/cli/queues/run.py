"""Run one of the commands; what goes wrong is one line on stderr and an exit code."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Final

from otel_queue_plugins.brokers.errors import BrokerError, RefusedError
from otel_queue_plugins.cli.doctor.command import doctor
from otel_queue_plugins.cli.queues import failures
from otel_queue_plugins.cli.queues.failures import (
    InterruptedChangeError,
    NotFoundError,
    UnreachableError,
    UsageError,
    write_error,
)
from otel_queue_plugins.cli.queues.output import Output
from otel_queue_plugins.cli.queues.peek import peek
from otel_queue_plugins.cli.queues.purge import purge
from otel_queue_plugins.cli.queues.queues_command import queues
from otel_queue_plugins.cli.queues.requeue import requeue
from otel_queue_plugins.cli.queues.show import show
from otel_queue_plugins.cli.workers.asking import NoWorkerError
from otel_queue_plugins.cli.workers.command import workers

COMMANDS: Final[Mapping[str, Callable[[Namespace, Output], int]]] = {
    "queues": queues,
    "peek": peek,
    "show": show,
    "requeue": requeue,
    "purge": purge,
    "workers": workers,
    "doctor": doctor,
}

_CODES: Final[Mapping[type[BaseException], int]] = {
    NotFoundError: failures.WRONG,
    UsageError: failures.USAGE,
    ModuleNotFoundError: failures.USAGE,
    BrokerError: failures.UNREACHABLE,
    UnreachableError: failures.UNREACHABLE,
    RefusedError: failures.REFUSED,
    InterruptedChangeError: failures.INTERRUPTED,
    KeyboardInterrupt: failures.INTERRUPTED,
}


def run(parsed: Namespace) -> int:
    """Run the command that `parsed` names; its exit code."""
    return guarded(lambda: COMMANDS[parsed.command](parsed, Output(parsed)))


def guarded(command: Callable[[], int]) -> int:
    """Run a command; its exit code, also for what goes wrong."""
    try:
        return command()
    except BrokenPipeError:
        failures.discard(sys.stdout.fileno())
        return failures.OK
    except tuple(_CODES) as error:
        write_error(_line(error))
        return next(code for kind, code in _CODES.items() if isinstance(error, kind))


def _line(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and "pip install" not in str(error):
        return f"{error.name} is not installed, which this broker needs"
    if isinstance(error, NoWorkerError):
        return f"{error}; is the port that of its OTEL_QUEUE_HTTP?"
    if isinstance(error, BrokerError):
        return f"{str(error).rstrip('.')}; is the broker up, and the URL right?"
    return str(error) or "interrupted; nothing was changed"
