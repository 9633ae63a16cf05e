"""Apps and brokers of users, found as the commands of the frameworks find them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from otel_queue_plugins.cli.queues.failures import UsageError
from otel_queue_plugins.core.extras import required

_T = TypeVar("_T")


def celery_app(name: str) -> Any:
    """The Celery app `name`, with the modules of its tasks imported. Raises UsageError."""
    with required("Celery", "celery"):
        find: Any = import_module("celery.app.utils").find_app
    app_type: Any = import_module("celery").Celery

    def load() -> Any:
        app = find(name)
        if not isinstance(app, app_type):
            raise TypeError(f"it is no Celery app but of the type {type(app).__name__}")
        app.loader.import_default_modules()
        return app

    return _loaded("-A", name, load)


def dramatiq_broker(name: str) -> Any:
    """The Dramatiq broker `name`, or the global one of that module. Raises UsageError."""
    with required("Dramatiq", "dramatiq"):
        find: Any = import_module("dramatiq.cli").import_broker
    return _loaded("-B", name, lambda: find(name)[1])


def _loaded(option: str, name: str, load: Callable[[], _T]) -> _T:
    """Run `load`, which imports the user's code. What that prints goes to stderr."""
    directory = str(Path.cwd())
    if directory not in sys.path:
        sys.path.insert(0, directory)
    try:
        with redirect_stdout(sys.stderr):
            return load()
    except (Exception, SystemExit) as error:
        raise UsageError(f"{option} {name}: {type(error).__name__}: {error}") from error
