"""From the options that say whose queues are meant to their reader."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from otel_queue_plugins.brokers import opening
from otel_queue_plugins.brokers.reader import QueueReader
from otel_queue_plugins.core.settings.problems import without_secrets


class UsageError(Exception):
    """The command was used wrongly. The text is one line, without passwords."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The reader that was asked for; `names` returns its queues, or None where it has to search."""

    reader: QueueReader
    names: Callable[[], Iterable[str]] | None


def open_target(parsed: Namespace) -> Target:
    """The reader for the options. Connects to nothing. Raises UsageError."""
    if parsed.url is not None:
        return _at_url(parsed)
    if parsed.framework is not None:
        raise UsageError("--framework belongs to --url; an app says what it is")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    if parsed.app is not None:
        return _of_celery(parsed)
    return _of_dramatiq(parsed)


def _at_url(parsed: Namespace) -> Target:
    if parsed.framework is None:
        raise UsageError("--url needs --framework celery or --framework dramatiq")
    try:
        reader = opening.reader_of_url(
            parsed.url,
            parsed.framework,
            queues=parsed.queue,
            namespace=parsed.namespace,
            key_prefix=parsed.key_prefix,
            management_url=parsed.management_url,
        )
    except Exception as error:  # noqa: BLE001 - the client libraries raise what they like
        raise UsageError(f"--url: {_text(error)}") from None
    return Target(reader=reader, names=(lambda: parsed.queue) if parsed.queue else None)


def _of_celery(parsed: Namespace) -> Target:
    def find() -> Any:
        return import_module("celery.app.utils").find_app(parsed.app)

    app = _found("-A", parsed.app, find)
    reader = opening.reader_of_celery(app, management_url=parsed.management_url)
    return Target(reader=reader, names=lambda: parsed.queue or reader.names())


def _of_dramatiq(parsed: Namespace) -> Target:
    def find() -> Any:
        return import_module("dramatiq.cli").import_broker(parsed.broker)[1]

    broker = _found("-B", parsed.broker, find)
    reader = opening.reader_of_dramatiq(broker, management_url=parsed.management_url)
    return Target(reader=reader, names=lambda: parsed.queue or reader.names())


def _found(option: str, name: str, find: Callable[[], Any]) -> Any:
    try:
        return find()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - importing an app runs its code
        raise UsageError(f"{option} {name}: cannot be imported: {_text(error)}") from None


def _text(error: BaseException) -> str:
    return without_secrets(f"{type(error).__name__}: {error}")
