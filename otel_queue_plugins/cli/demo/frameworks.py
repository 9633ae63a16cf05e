"""How each framework is started in the demo, and what it needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from otel_queue_plugins.cli.demo.failure import DemoError

_SHOP: Final = "otel_queue_plugins.cli.demo.shop"
_THREADS: Final = "4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """`modules` are what the embedded broker needs, `clients` what each kind of real one does."""

    name: str
    modules: tuple[str, ...]
    clients: dict[str, str]
    ready: str

    def worker(self, queue: str) -> Sequence[str]:
        """The command of the worker."""
        if self.name == "dramatiq":
            module = f"{_SHOP}.dramatiq_worker"
            return [sys.executable, "-m", "dramatiq", module, "-p", "1", "-t", _THREADS]
        return [
            *(sys.executable, "-m", "celery", "-A", f"{_SHOP}.celery_worker", "worker"),
            *("-P", "threads", "-c", _THREADS, "-Q", queue, "-n", f"{queue}@%h", "-l", "INFO"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ]

    def web(self, *arguments: str) -> Sequence[str]:
        """The command of the web side."""
        return [sys.executable, "-m", f"{_SHOP}.{self.name}_web", *arguments]


FRAMEWORKS: Final = {
    "celery": Framework(
        name="celery",
        modules=("celery",),
        clients={"redis": "redis", "rediss": "redis", "amqp": "amqp", "amqps": "amqp"},
        ready=r" ready\.$",
    ),
    "dramatiq": Framework(
        name="dramatiq",
        modules=("dramatiq", "redis", "fakeredis", "lupa"),
        clients={"redis": "redis", "rediss": "redis", "amqp": "pika", "amqps": "pika"},
        ready="Worker process is ready for action",
    ),
}
BROKER_SCHEMES: Final = tuple(FRAMEWORKS["celery"].clients)


def choose(name: str | None, broker_url: str | None) -> Framework:
    """The framework called `name`, or the first that is installed.

    Raises DemoError if something is not installed, saying what to do.
    """
    if name is None:
        name = next((each for each in FRAMEWORKS if find_spec(each)), "celery")
    framework = FRAMEWORKS[name]
    needed = framework.modules
    if broker_url:
        needed = (framework.name, framework.clients[broker_url.partition(":")[0]])
    missing = [module for module in needed if not find_spec(module)]
    if missing:
        raise not_installed(missing)
    return framework


def not_installed(modules: Sequence[str]) -> DemoError:
    """What to say when `modules` cannot be imported."""
    extra = ",pika" if modules == ["pika"] else ""
    what = " and ".join(modules)
    if extra:
        return DemoError(f"{what} is not installed: pip install 'dramatiq[rabbitmq]'")
    are = "are" if len(modules) > 1 else "is"
    return DemoError(f"{what} {are} not installed: pip install 'otel-queue-plugins[demo]'")
